package shop_test

import (
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/filter"
)

// TestChecksSelectByValidFilters compiles every on of checks/.
func TestChecksSelectByValidFilters(t *testing.T) {
	files, err := filepath.Glob("checks/*.netcheck.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no check files: %v", err)
	}
	for _, file := range files {
		var content struct{ Checks []struct{ Name, On string } }
		read(t, file, &content)
		for _, c := range content.Checks {
			if f, err := filter.Compile(c.On); err != nil {
				t.Errorf("%s: %s: %v", file, c.Name, err)
			} else if w := f.Warnings(); len(w) > 0 {
				t.Errorf("%s: %s: %v", file, c.Name, w)
			}
		}
	}
}
