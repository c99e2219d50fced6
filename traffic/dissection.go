package traffic

// Dissection is the calls and connections found in one window, and an account of what could not be read.
type Dissection struct {
	Calls       []*Call       `json:"calls"`
	Connections []*Connection `json:"connections"`
	Account     Account       `json:"account"`
}

// Account says what became of every packet and byte. What is not decoded is counted here, by reason, never dropped
// in silence.
type Account struct {
	Source        string            `json:"source,omitempty"` // tap, afpacket, file
	Packets       uint64            `json:"packets"`          // read
	Bytes         uint64            `json:"bytes"`
	Decoded       uint64            `json:"decoded"`                   // packets that belong to a TCP or UDP connection
	Ignored       map[string]uint64 `json:"ignored,omitempty"`         // packets of other kinds: arp, icmp, …; tunnel:<kind> are outer packets, whose inner ones are read
	Malformed     map[string]uint64 `json:"malformed,omitempty"`       // packets whose headers do not parse, by where
	Dropped       uint64            `json:"dropped"`                   // packets that the source lost
	Lost          []FlowLoss        `json:"lost,omitempty"`            // the same by flow, as far as known
	Missing       uint64            `json:"missing_bytes"`             // payload bytes absent from the streams
	Undecoded     uint64            `json:"undecoded_bytes"`           // payload bytes given up, all reasons
	GivenUp       map[string]uint64 `json:"given_up,omitempty"`        // bytes given up by reason: buffer_limit, no_sync, …
	OnePoint      uint64            `json:"one_point,omitempty"`       // connections of the window that were captured at one of their ends only
	Joined        uint64            `json:"joined,omitempty"`          // connections that each end named differently, behind address translation, and that were joined into one
	Underived     uint64            `json:"underived_calls,omitempty"` // calls beyond the number of which facts are kept: without parents, retries and routes
	FileTruncated bool              `json:"file_truncated,omitempty"`  // the capture file ends inside a record
	Interfaces    []Interface       `json:"interfaces,omitempty"`
	First         int64             `json:"first_ns,omitempty"` // time of the first packet, Unix nanoseconds
	Last          int64             `json:"last_ns,omitempty"`
}

// Complete reports whether nothing at all is known to be lost.
func (a *Account) Complete() bool {
	return a.Dropped == 0 && a.Missing == 0 && a.Undecoded == 0 && len(a.Malformed) == 0 && !a.FileTruncated
}
