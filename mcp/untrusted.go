package mcp

import (
	"crypto/rand"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
)

// fence puts text that came from the network between two marks that it cannot know, below a sentence that says what it is:
// a payload that closes the fence and goes on in the server's voice stays inside.
func fence(text string) string {
	mark := strings.ToLower(rand.Text()[:8])
	return control.Untrusted + "\n<untrusted-" + mark + ">\n" + text + "\n</untrusted-" + mark + ">"
}
