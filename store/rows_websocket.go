package store

import "github.com/devloop-io/devloop/traffic"

// websocketRow has the columns of WebSocket messages.
type websocketRow struct {
	HasWS        bool   `parquet:"ws"`
	WSOpcode     string `parquet:"ws_opcode,dict"`
	WSFromServer bool   `parquet:"ws_response"`
	HasWSPayload bool   `parquet:"has_ws_payload"`
	WSPayload    []byte `parquet:"ws_payload"`
	WSCut        bool   `parquet:"ws_payload_cut"`
	WSLength     int64  `parquet:"ws_payload_length"`
	WSFragments  int64  `parquet:"ws_fragments"`
	WSCloseCode  int32  `parquet:"ws_close_code"`
	WSCompressed bool   `parquet:"ws_compressed"`
	WSError      string `parquet:"ws_error,dict"`
}

func websocketToRow(w *traffic.WebSocket) websocketRow {
	if w == nil {
		return websocketRow{}
	}
	return websocketRow{
		HasWS: true, WSOpcode: w.Opcode, WSFromServer: w.FromServer, HasWSPayload: w.Payload != nil, WSPayload: w.Payload, WSCut: w.PayloadCut,
		WSLength: w.Length, WSFragments: int64(w.Fragments), WSCloseCode: int32(w.CloseCode), WSCompressed: w.Compressed, WSError: w.Error,
	}
}

func (r *websocketRow) websocket() *traffic.WebSocket {
	if !r.HasWS {
		return nil
	}
	w := &traffic.WebSocket{
		Opcode: r.WSOpcode, FromServer: r.WSFromServer, PayloadCut: r.WSCut, Length: r.WSLength, Fragments: int(r.WSFragments),
		CloseCode: int(r.WSCloseCode), Compressed: r.WSCompressed, Error: r.WSError,
	}
	if r.HasWSPayload { // the column's memory is used again for the next rows
		w.Payload = append([]byte{}, r.WSPayload...)
	}
	return w
}
