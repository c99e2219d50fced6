// Package daemon serves one workspace's session over a unix socket, and over TCP to whoever has its token: the methods of one
// table, by name, as MCP and as REST. There is one daemon a workspace: a file lock tells a living one from a dead one. It ends
// when nobody has asked anything for its idle time, and takes down what it started.
package daemon
