package dissect_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// comparison is one line of the report that `make truth` prints.
type comparison struct {
	what   string
	ours   int     // of tshark's, how many we have
	tshark int     //
	bar    float64 // 0 without one
}

func (c *comparison) agreement() float64 { return share(c.ours, c.tshark) }

func share(n, of int) float64 {
	if of == 0 {
		return 1
	}
	return float64(n) / float64(of)
}

// judge writes the line to the report's section, and fails the test when the bar is missed.
func (c *comparison) judge(t *testing.T, section string) {
	t.Helper()
	bar, verdict := "      -", ""
	if c.bar > 0 {
		bar = fmt.Sprintf("%6.2f%%", 100*c.bar)
		if verdict = "ok"; c.agreement() < c.bar {
			verdict = "MISSED"
			t.Errorf("%s: %d of %d, %.2f %%: the bar is %.2f %%", c.what, c.ours, c.tshark, 100*c.agreement(), 100*c.bar)
		}
	}
	report(t, section, fmt.Sprintf("%-44s %6d %6d %7.2f%% %s  %s", c.what, c.ours, c.tshark, 100*c.agreement(), bar, verdict))
}

// report appends a line to a section of the report; the folder is made by `make truth`.
func report(t *testing.T, section, line string) {
	t.Helper()
	t.Log(line)
	dir := os.Getenv("DEVLOOP_TRUTH")
	if dir == "" {
		return
	}
	f, err := os.OpenFile(filepath.Join(dir, section+".txt"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}
