// Package mcp is the face for AI agents: the Model Context Protocol over stdio, one file a tool.
//
// The server holds no state of its own: every tool asks the workspace's daemon, which is started at the first call that
// needs it. Text that came from the network is labelled as untrusted in every answer that carries some.
package mcp
