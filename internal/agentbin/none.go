//go:build !embedagent

package agentbin

var embedded map[string][]byte // see embed.go
