package lsp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
)

// TestWalkthrough: what the extension's walkthrough shows as a devloop.yaml, or as checks, is one.
func TestWalkthrough(t *testing.T) {
	files, err := filepath.Glob("../extension/walkthrough/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal("no walkthrough", err)
	}
	shown := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, yaml, ok := strings.Cut(string(text), "```yaml\n")
		if !ok {
			continue
		}
		shown++
		yaml, _, _ = strings.Cut(yaml, "```")
		if strings.HasPrefix(yaml, "checks:") {
			var p assertions.Parser
			_, err = p.Parse(file, []byte(yaml))
		} else {
			_, err = config.Parse(file, []byte(yaml))
		}
		if err != nil {
			t.Error(err)
		}
	}
	if shown != 2 {
		t.Errorf("%d files show YAML", shown)
	}
}
