//go:build embedagent

package agentbin

import "embed"

// Made by `make build`.
//
//go:embed embedded/*.gz
var embedded embed.FS

// packed is an embedded program, nil when there is none.
func packed(name, arch string) []byte {
	b, err := embedded.ReadFile("embedded/" + name + "-" + arch + ".gz")
	if err != nil {
		return nil
	}
	return b
}
