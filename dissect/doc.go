// Package dissect turns packets into connections and calls.
//
//	Packet → decode (link, IP, fragments) → connection → stream (TCP reassembly) → protocol → Call
//
// A [Dissector] is fed packet by packet and emits rows as they complete; its memory is bounded by the connections that
// are open, never by the length of the capture. Whatever it gives up it counts by reason in the Account. Protocols are
// found by content and never by port; each is one folder behind the table in protocols.go.
//
// One conversation may be captured at two points: leaving the sender's interface and entering the receiver's, the
// second copy perhaps without payload. Both copies belong to one connection: payload comes from whichever copy has it,
// counters from the sender's copies, times from the client's point.
//
// At the end of a window [Dissector.Checkpoint] writes down the state of every open connection, so that dissecting
// window n alone ([Restore]) yields the very rows of dissecting windows 1 to n.
package dissect
