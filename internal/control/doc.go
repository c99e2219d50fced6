// Package control is the daemon's API as Go sees it: the types of every request and answer, where the socket lies, and
// the client that the faces (CLI, MCP, LSP) use. The faces translate; none computes.
//
// Requests are POST /v1/NAME with a JSON body over a unix socket of mode 0600. Answers are JSON; requests that take long
// answer with one JSON object a line: [Event]s while it lasts, then one with Result or Error set.
package control
