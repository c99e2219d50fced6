// Package protobuf shows the messages of gRPC calls as JSON: by their descriptors where these are known, or else by the wire
// format alone, whose fields have numbers instead of names and whose types are guessed.
package protobuf
