// Package quic reads the Initial packets of QUIC (RFC 9000, RFC 9001, RFC 9369): their keys follow from what is in the clear,
// so the hellos of TLS can be read without secrets. One call per handshake, as over TCP. All other packets are counted as
// encrypted.
package quic
