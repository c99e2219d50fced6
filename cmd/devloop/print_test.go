package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/traffic"
)

func TestCapturedTextCannotSteerTheTerminal(t *testing.T) {
	evil := "GET /\x1b[2J\x9b31m\x07\r"
	for _, got := range []string{harmless(evil), printable(evil)} {
		if strings.ContainsAny(got, "\x1b\x07\r\u009b") {
			t.Errorf("%q passes through", got)
		}
	}
	if long := printable(strings.Repeat("ü", 200)); len([]rune(long)) != 80 || !strings.HasSuffix(long, "…") {
		t.Errorf("a long text becomes %d characters", len([]rune(long)))
	}
}

func TestColoursOnlyWherePeopleLook(t *testing.T) {
	t.Setenv("NO_COLOR", "")
	t.Setenv("FORCE_COLOR", "")
	r := &root{out: &bytes.Buffer{}, colour: "auto"}
	if got := r.mark(traffic.Fail); got != "✗ fail        " {
		t.Errorf("into a pipe: %q", got)
	}
	r.colour = "always"
	if got := r.mark(traffic.Fail); got != "\x1b[31m✗ fail        \x1b[0m" {
		t.Errorf("always: %q", got)
	}
	r.colour = "auto"
	t.Setenv("FORCE_COLOR", "1")
	if !r.coloured() {
		t.Error("FORCE_COLOR is not heeded")
	}
	t.Setenv("NO_COLOR", "1")
	if r.coloured() {
		t.Error("NO_COLOR is not heeded")
	}
}

func TestEveryVerdictHasItsMark(t *testing.T) {
	for _, v := range []traffic.Verdict{traffic.Pass, traffic.Fail, traffic.Inconclusive, traffic.NoData, traffic.Error, traffic.Skipped} {
		if v.Sign() == "" || colours[v] == "" {
			t.Errorf("%s has mark %q and colour %q", v, v.Sign(), colours[v])
		}
	}
}
