// Package http1 reads HTTP/1.0 and 1.1 (RFC 9112): it pairs requests with responses, with pipelining, and follows
// bodies by Content-Length, chunks or the end of the connection. It is lenient where servers are: odd line ends,
// folded headers, repeated fields. After a gap it goes on where the next message begins.
package http1
