// Package socks steps over the handshake of SOCKS 4, 4a and 5 (RFC 1928, RFC 1929): what the proxy then passes on is found by its
// content. It makes no calls.
package socks
