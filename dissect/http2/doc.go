// Package http2 reads HTTP/2 in the clear (RFC 9113, HPACK of RFC 7541) and gRPC on top of it: one call per stream.
//
// A connection is recognised by its preface, by the server's first SETTINGS, or, when it was joined in its middle, by a
// header block that stands where a packet begins. Header fields that refer to a table entry from before the capture or
// from a hole are marked unknown, and learned again as the ends add new entries.
package http2
