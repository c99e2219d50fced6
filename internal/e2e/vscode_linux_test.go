package e2e

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestVSCode opens the shop in VS Code, starts the loop, breaks a service and mends it. What the editor shows follows: squiggle, Problems,
// Test Explorer, code lens, status bar and dashboard.
func TestVSCode(t *testing.T) {
	w := shop(t)
	b := opened(t, nil)
	b.open(w.dir)
	b.until("the status bar says that nothing runs", func() bool { return strings.Contains(b.status(), "devloop") })
	b.until("the language server has told how things stand", func() bool {
		return !strings.Contains(b.texts(`.statusbar-item[id^="devloop.devloop"] .codicon`, "class"), "loading")
	})

	b.command("devloop: Start the Loop")
	b.until("the clean shop passes", func() bool { return strings.Contains(b.status(), "pass") })
	b.file("checkout.netcheck.yaml")
	b.until("the lens says so", func() bool { return strings.Contains(b.texts(".codelens-decoration", ""), "✓ pass") })
	b.command("Testing: Focus on Test Explorer View")
	b.until("the Test Explorer shows the file", func() bool { return strings.Contains(b.tests(), "checkout.netcheck.yaml (Passed)") })
	if squiggles := b.texts(".squiggly-error", "class"); squiggles != "" {
		t.Errorf("squiggles in the clean shop: %s", squiggles)
	}
	b.pictured("editor-pass")

	w.write("faults.env", "FAULTS=payment-timeout\n")
	b.until("the status bar shows the failure", func() bool { return strings.Contains(b.status(), "fail") })
	b.until("the check has a squiggle", func() bool { return b.texts(".squiggly-error", "class") != "" })
	b.until("its lens says fail", func() bool { return strings.Contains(b.texts(".codelens-decoration", ""), "✗ fail") })
	b.until("the Test Explorer shows it", func() bool { return strings.Contains(b.tests(), "checkout never answers 5xx (Failed)") })
	b.command("Problems: Focus on Problems View")
	b.until("Problems has its row", func() bool {
		return strings.Contains(b.texts(".markers-panel .monaco-list-row", "aria-label"), "fail in i")
	})
	b.pictured("editor-fail")

	b.command("devloop: Open Dashboard")
	b.until("the dashboard shows it", func() bool { return strings.Contains(b.frames(), "fail") })
	b.pictured("editor-dashboard")

	w.write("faults.env", "FAULTS=\n")
	b.file("checkout.netcheck.yaml")
	b.until("the status bar shows the mended shop", func() bool { return strings.Contains(b.status(), "pass") })
	b.until("the squiggle is gone", func() bool { return b.texts(".squiggly-error", "class") == "" })
	b.until("Problems is empty", func() bool {
		return !strings.Contains(b.texts(".markers-panel .monaco-list-row", "aria-label"), "fail in i")
	})
	b.until("the Test Explorer shows it", func() bool { return strings.Contains(b.tests(), "checkout never answers 5xx (Passed)") })

	b.command("Developer: Show Running Extensions")
	var took string
	b.until("VS Code says how long the extension took", func() bool {
		took = b.texts(`.runtime-extensions-editor .monaco-list-row`, "")
		return activation.MatchString(took)
	})
	ms, _ := strconv.Atoi(activation.FindStringSubmatch(took)[1])
	t.Logf("activation: %d ms", ms)
	if ms > 200 {
		t.Errorf("the extension took %d ms to activate, and may take 200", ms)
	}
	var hosts []string
	if err := b.ask(map[string]any{"do": "hosts"}, &hosts); err != nil {
		t.Fatal(err)
	}
	t.Logf("hosts: %v", hosts)
}

var activation = regexp.MustCompile(`(?s)devloop.*?Activation: (\d+)ms`)

// tests are the rows of the Test Explorer as a screen reader reads them.
func (b *workbench) tests() string {
	b.t.Helper()
	return b.texts(".test-explorer .monaco-list-row", "aria-label")
}
