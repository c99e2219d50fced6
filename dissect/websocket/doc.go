// Package websocket reads the messages of a connection that HTTP/1 was upgraded to WebSocket on (RFC 6455), with
// permessage-deflate (RFC 7692). Each message is a call of its own: nothing in the protocol says which message answers
// which. Without the upgrade in the capture nothing is read, because masked bytes look like anything.
package websocket
