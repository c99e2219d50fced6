// Package websocket reads the messages of a connection that HTTP/1 was upgraded to WebSocket on (RFC 6455), or of a stream of
// HTTP/2 (RFC 8441), with permessage-deflate (RFC 7692). Each message is a call of its own: nothing in the protocol says which
// message answers which. A connection that was joined after its upgrade is known by a readable text of the client; then
// nothing says whose path it was, and compressed messages stay unread. Masked bytes of other kinds look like anything.
package websocket
