package traffic

// ProtoWS is WebSocket, after an HTTP upgrade to it.
const ProtoWS = "ws"

// WebSocket is what one WebSocket message carries. A message has no answer: the client's are requests, the server's
// responses, and both are complete by themselves. The call's Method is the opcode, its Path that of the request that opened
// the connection.
type WebSocket struct {
	Opcode     string `json:"opcode"` // text, binary, close, ping, pong
	FromServer bool   `json:"from_server,omitempty"`
	Payload    []byte `json:"payload,omitempty"` // unmasked and decompressed, cut at the dissector's limit; of a close its reason
	PayloadCut bool   `json:"payload_cut,omitempty"`
	Length     int64  `json:"length"`               // of the message, unmasked and decompressed; on the wire where it could not be decompressed
	Fragments  int    `json:"fragments"`            // frames that it came in
	CloseCode  int    `json:"close_code,omitempty"` // 1000 is a normal closure; 0 where a close carries none
	Compressed bool   `json:"compressed,omitempty"` // by permessage-deflate
	Error      string `json:"error,omitempty"`      // why the payload is not there or not whole
}
