// Package tls reads TLS handshakes without keys (RFC 8446, RFC 5246): one call per handshake, with server name,
// versions, ciphers, ALPN, certificates of TLS 1.2 and older, and alerts. What follows is counted as encrypted.
package tls
