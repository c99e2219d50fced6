//go:build embedagent

package agentbin

import _ "embed"

// Made by `make build`.
var (
	//go:embed embedded/devloop-agent-amd64.gz
	amd64 []byte
	//go:embed embedded/devloop-agent-arm64.gz
	arm64 []byte
)

var embedded = map[string][]byte{"amd64": amd64, "arm64": arm64}
