// Package grpc reads what gRPC adds to HTTP, whichever version carries it: the content type, the method's name, the deadline, the
// status, and the framing of messages (the documents PROTOCOL-HTTP2.md and PROTOCOL-WEB.md of gRPC). gRPC-Web sends its
// trailers as a last message, and has a form in base64.
package grpc
