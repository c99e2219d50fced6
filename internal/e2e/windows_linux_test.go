package e2e

import (
	"regexp"
	"strings"
	"testing"
)

// remoteHost is what the extension says in its log where the window is that of another machine.
var remoteHost = regexp.MustCompile(`activated in [\d.]+ ms, on the remote machine \S+, shown in a browser`)

// TestVSCodeWindows: two windows on one workspace share its daemon, and each shows what the other began; what one has typed and not saved is
// its own affair. The one that began the loop is closed, with its terminals, and the other goes on. Both are windows of a remote machine,
// as code-server's always are: the extension runs beside the services.
func TestVSCodeWindows(t *testing.T) {
	w := pair(t)
	b := opened(t, nil)
	const first, second = 0, 1
	for _, n := range []int{second, first} {
		b.turn(n)
		b.open(w.dir)
		b.until("the status bar says that nothing runs", func() bool { return strings.Contains(b.status(), "devloop") })
		b.until("the language server has told how things stand", func() bool {
			return !strings.Contains(b.texts(`.statusbar-item[id^="devloop.devloop"] .codicon`, "class"), "loading")
		})
		b.file("stock.netcheck.yaml")
	}
	b.command("devloop: Start the Loop")
	for _, n := range []int{first, second} {
		b.turn(n)
		b.until("the window shows the verdict", func() bool { return strings.Contains(b.status(), "pass") })
		b.until("the lens says so", func() bool { return strings.Contains(b.texts(".codelens-decoration", ""), "✓ pass") })
	}
	daemon := w.status().PID

	b.turn(first)
	b.click(".view-line", "status_code >= 500")
	b.press("End", "Backspace", "Backspace", "4", ")") // none(status_code >= 504)
	b.until("what was typed makes the verdict stale", func() bool { return strings.Contains(b.texts(".codelens-decoration", ""), "stale") })
	b.turn(second)
	if lenses := b.texts(".codelens-decoration", ""); strings.Contains(lenses, "stale") {
		t.Errorf("what the other window has not saved is stale here: %s", lenses)
	}
	b.turn(first)
	b.command("File: Revert File")
	b.until("what was typed is gone", func() bool { return !strings.Contains(b.texts(".codelens-decoration", ""), "stale") })

	w.edit("cmd/stock/main.go", stockWell, stockBroken)
	for _, n := range []int{second, first} {
		b.turn(n)
		b.until("the window shows the failure", func() bool {
			return strings.Contains(b.status(), "fail") && b.texts(".squiggly-error", "class") != ""
		})
	}
	b.command("Terminal: Kill All Terminals") // as a window that closes does with its own
	b.do(map[string]any{"do": "close"})
	b.turn(second)
	if now := w.status().PID; now != daemon {
		t.Errorf("daemon %d ended with the window, and %d runs now", daemon, now)
	}
	w.edit("cmd/stock/main.go", stockBroken, stockWell)
	b.until("a save is judged without the window that began", func() bool { return strings.Contains(b.status(), "pass") && !strings.Contains(b.status(), "stale") })
	b.until("the squiggle is gone", func() bool { return b.texts(".squiggly-error", "class") == "" })

	b.click(".view-line", "status_code >= 500")
	b.press("End", "Backspace", "Backspace", "4", ")")
	b.until("what was typed makes the verdict stale", func() bool { return strings.Contains(b.texts(".codelens-decoration", ""), "stale") })
	b.click(".codelens-decoration a", "run")
	b.until("a run saves and judges what was typed", func() bool {
		lenses := b.texts(".codelens-decoration", "")
		return strings.Contains(lenses, "none(status_code >= 504)") && !strings.Contains(lenses, "stale")
	})
	if now := w.status().PID; now != daemon {
		t.Errorf("daemon %d was replaced by %d", daemon, now)
	}
	if log := b.log(); !remoteHost.MatchString(log) {
		t.Errorf("the extension does not say that it runs on the window's remote machine:\n%s", log)
	}
}
