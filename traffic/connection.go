package traffic

import "net/netip"

// The states of connections.
const (
	StateInProgress  State = "in_progress" // handshake begun
	StateEstablished State = "established"
	StateClosed      State = "closed"
	StateReset       State = "reset"
	StateRefused     State = "refused"
)

// Connection is one TCP or UDP socket pair from open to close, as far as one window shows it. Counters and times are
// cumulative over the connection's life; the fields named Window… count this window alone.
type Connection struct {
	ID     uint64   `json:"conn_id"`
	FlowID uint64   `json:"flow_id"`
	Proto  string   `json:"proto"` // tcp or udp
	L7     string   `json:"l7"`    // protocol found in it; "other" and "unknown" as in the Proto constants
	Src    Endpoint `json:"src"`   // the client: who sent the SYN, else a guess that Guessed marks
	Dst    Endpoint `json:"dst"`   // the server, as its own point names it where there is one: behind a Service, the backend

	OriginalDst netip.AddrPort `json:"original_dst,omitzero"` // what the client spoke to, where address translation led elsewhere: the Service

	Guessed bool `json:"guessed,omitempty"` // client and server were told apart by port or content only

	Start int64 `json:"start_ns"` // first packet, Unix nanoseconds
	End   int64 `json:"end_ns"`   // last packet
	State State `json:"state"`

	Opened          bool   `json:"opened"` // its SYN lies in this window
	Closed          bool   `json:"closed"` // it ended in this window
	Calls           int    `json:"calls"`  // over its life
	WindowCalls     int    `json:"window_calls"`
	MidRequestReset bool   `json:"mid_request_reset,omitempty"` // reset while a request waited for its response
	ResetBy         string `json:"reset_by,omitempty"`          // client or server

	ClientPackets uint64      `json:"client_packets"` // sent by the client
	ServerPackets uint64      `json:"server_packets"`
	ClientBytes   uint64      `json:"client_bytes"` // payload bytes sent by the client, without retransmissions
	ServerBytes   uint64      `json:"server_bytes"`
	Missing       uint64      `json:"missing_bytes"`   // payload bytes that the capture lacks
	Undecoded     uint64      `json:"undecoded_bytes"` // payload bytes that no dissector read, though one might have
	Encrypted     uint64      `json:"encrypted_bytes"` // payload bytes behind TLS
	Lost          uint64      `json:"lost_packets"`    // packets of it that the capture source says it lost in this window
	Packets       PacketRange `json:"packets"`

	WindowMissing   uint64 `json:"window_missing_bytes"`   // what of Missing and Undecoded became known in this window:
	WindowUndecoded uint64 `json:"window_undecoded_bytes"` // checks count these, so that an old loss is not held against it for ever

	TCP               *TCPMetrics `json:"tcp_metrics,omitempty"`
	HandshakeClientNS int64       `json:"handshake_client_ns,omitempty"` // SYN to SYN-ACK as the client saw it; 0 with SYN retransmits
	HandshakeServerNS int64       `json:"handshake_server_ns,omitempty"` // SYN-ACK to ACK as the server saw it
	ConnectNS         int64       `json:"connect_ns,omitempty"`          // first SYN to SYN-ACK, retransmits included
	SYNRetransmits    int         `json:"syn_retransmits"`
	SNI               string      `json:"sni,omitempty"`
	CaptureSource     string      `json:"capture_source,omitempty"` // tls_keylog where its TLS was opened with logged secrets
	Points            []string    `json:"points,omitempty"`         // who captured it: client, server, wire
	Views             []View      `json:"views,omitempty"`          // what the points at its ends saw, the client's first
	Revision          string      `json:"revision,omitempty"`
	Background        bool        `json:"background,omitempty"`
}

// View is what one capture point saw of a connection. Address translation between the points gives the ends another address
// in each.
type View struct {
	Point       string         `json:"point"` // client or server
	Interface   string         `json:"interface,omitempty"`
	Node        string         `json:"node,omitempty"`
	Src         netip.AddrPort `json:"src"` // the client as this point names it
	Dst         netip.AddrPort `json:"dst"`
	Packets     uint64         `json:"packets"`                // recorded at this point over the connection's life, both directions
	HandshakeNS int64          `json:"handshake_ns,omitempty"` // as HandshakeClientNS or HandshakeServerNS

	// ClockOffsetNS estimates how far the server's point's clock is ahead of the client's, from the handshake; it is wrong
	// by at most ClockErrorNS, which is 0 where there is no estimate.
	ClockOffsetNS int64 `json:"clock_offset_ns,omitempty"`
	ClockErrorNS  int64 `json:"clock_error_ns,omitempty"`
}

// TCPMetrics has the names, units and meanings of Kubeshark's tcp_metrics; the counts follow Wireshark's analysis.
type TCPMetrics struct {
	Retransmissions     int     `json:"retransmissions"`
	FastRetransmissions int     `json:"fast_retransmissions"`
	RetransmissionRate  float64 `json:"retransmission_rate"` // 0..1 of data segments
	ZeroWindowEvents    int     `json:"zero_window_events"`
	WindowFullEvents    int     `json:"window_full_events"`
	WindowScale         int     `json:"window_scale"`
	AvgReceiveWindow    int64   `json:"avg_receive_window"` // bytes
	OutOfOrder          int     `json:"out_of_order"`
	DupACKs             int     `json:"dup_acks"`
	MissingSegments     int     `json:"missing_segments"`
	RSTCount            int     `json:"rst_count"`
	FINCount            int     `json:"fin_count"`
	KeepaliveCount      int     `json:"keepalive_count"`
	Completeness        int     `json:"connection_completeness"` // 1 SYN, 2 SYN-ACK, 4 ACK, 8 DATA, 16 FIN, 32 RST
	InitialRTT          int64   `json:"initial_rtt_us"`          // SYN to the ACK of the handshake
	HandshakeTime       int64   `json:"handshake_time_us"`
	ConnectionTime      int64   `json:"connection_time_us"`
	TimeToFirstByte     int64   `json:"time_to_first_byte_us"`
	RTTMin              int64   `json:"rtt_min_us"`
	RTTMax              int64   `json:"rtt_max_us"`
	RTTAvg              int64   `json:"rtt_avg_us"`
	RTTSamples          int     `json:"rtt_samples"`
	Jitter              int64   `json:"jitter_us"`
	GoodputBytes        int64   `json:"goodput_bytes"`
}
