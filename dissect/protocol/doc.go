// Package protocol is the agreement between reassembly and the protocols of dissect/…: what a protocol is asked, what
// it is handed, and what it may ask of the connection it reads.
//
// A protocol is one folder. Its [Protocol] value says how its first bytes look ([Protocol.Detect]) and makes a
// [Parser], which gets the contiguous bytes of both directions with packet numbers and times, is told of gaps and of
// the end, and emits calls through its [Host]. A Parser is plain data with exported fields: gob writes it into
// checkpoints as it is.
package protocol
