//go:build !embedagent

package agentbin

// packed has nothing; see embed.go.
func packed(name, arch string) []byte { return nil }
