package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/screen"
	"github.com/devloop-io/devloop/traffic"
)

// live is the loop on a terminal: finished iterations scroll, and below them a few lines say what happens now and what failed last.
type live struct {
	r     *root
	block *screen.Block
	paint func(style, text string) string

	mu       sync.Mutex
	current  *traffic.Iteration
	last     *traffic.Iteration
	watching bool

	end, ended chan struct{}
}

// liveEvery is how often the running phase's time is drawn anew.
const liveEvery = 200 * time.Millisecond

// onTerminal reports whether the loop is shown live: a terminal for both outputs, colours, and nobody's CI.
func (r *root) onTerminal() (*os.File, bool) {
	out, ok := r.out.(*os.File)
	err, also := r.err.(*os.File)
	return out, ok && also && r.text() && !r.quiet && r.coloured() && os.Getenv("CI") == "" && screen.Terminal(out) && screen.Terminal(err)
}

// goLive shows the loop on the terminal until the returned function is called. Whatever else is written scrolls above it.
func (r *root) goLive(out *os.File) (*live, func()) {
	l := &live{r: r, block: screen.On(out), paint: sgr, end: make(chan struct{}), ended: make(chan struct{})}
	was, wasErr, colour := r.out, r.err, r.colour
	r.out, r.err, r.colour = l.block, l.block, "always"
	go func() {
		defer close(l.ended)
		tick := time.NewTicker(liveEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				l.draw(now)
			case <-l.end:
				return
			}
		}
	}()
	return l, func() {
		close(l.end)
		<-l.ended
		l.block.Close()
		r.out, r.err, r.colour = was, wasErr, colour
	}
}

func sgr(style, text string) string { return "\x1b[" + style + "m" + text + "\x1b[0m" }

// event takes what the daemon tells.
func (l *live) event(e control.Event) {
	switch {
	case e.Output != "":
		fmt.Fprint(l.block, e.Output)
	case e.Message != "":
		fmt.Fprintf(l.block, "… %s\n", e.Message)
	case e.Iteration != nil && e.Iteration.State == "running":
		l.mu.Lock()
		l.current = e.Iteration
		l.mu.Unlock()
		l.draw(time.Now())
	}
}

// finished writes an iteration into what scrolls: one line, and where it did not pass, why.
func (l *live) finished(it *traffic.Iteration) {
	l.mu.Lock()
	l.current, l.last = nil, it
	l.mu.Unlock()
	l.writeFinished(l.block, it)
	l.draw(time.Now())
}

// watch says that from now on saves start iterations.
func (l *live) watch() {
	l.mu.Lock()
	l.watching = true
	l.mu.Unlock()
	l.draw(time.Now())
}

func (l *live) draw(now time.Time) {
	l.mu.Lock()
	lines := l.frame(now)
	l.mu.Unlock()
	l.block.Draw(lines)
}

func (l *live) writeFinished(w io.Writer, it *traffic.Iteration) {
	took := milliseconds(it.Ended - it.Started)
	name := fmt.Sprintf("%-5s%-5s", it.ID, cmp.Or(it.Revision, "-"))
	if it.Failure != nil {
		fmt.Fprintf(w, "%s%s  %s%s\n", name, l.paint(colours[traffic.Fail], fmt.Sprintf("%s %-14s", traffic.Fail.Sign(), it.Failure.Phase+" failed")), took, saved(it))
		printFailure(w, it)
		return
	}
	if it.Verdict == "" {
		fmt.Fprintf(w, "%s%s  %s\n", name, cmp.Or(it.State, it.Phase), took)
		return
	}
	fmt.Fprintf(w, "%s%s  %s  %s, %d calls%s\n", name, l.paint(colours[it.Verdict], fmt.Sprintf("%s %-14s", it.Verdict.Sign(), it.Verdict)), took, counted(it), it.Calls, saved(it))
	for _, c := range it.Checks {
		if c.Verdict == traffic.Pass || c.Verdict == traffic.Skipped {
			continue
		}
		fmt.Fprintf(w, "     %s %s\n       %s\n       devloop explain %s\n", l.paint(colours[c.Verdict], c.Verdict.Sign()), checkName(c), harmless(c.Reason), devloop.Slug(c.Name))
	}
	for _, warning := range it.Warnings {
		fmt.Fprintln(w, "     warning:", harmless(warning))
	}
}

// saved are the files that an iteration was started by.
func saved(it *traffic.Iteration) string {
	if len(it.Files) == 0 {
		return ""
	}
	text := "  " + harmless(it.Files[0])
	if len(it.Files) > 1 {
		text += fmt.Sprintf(" and %d more", len(it.Files)-1)
	}
	return text
}

// counted is how many checks have which verdict.
func counted(it *traffic.Iteration) string {
	counts := map[traffic.Verdict]int{}
	for _, c := range it.Checks {
		counts[c.Verdict]++
	}
	var parts []string
	for _, v := range []traffic.Verdict{traffic.Fail, traffic.Error, traffic.Inconclusive, traffic.NoData, traffic.Pass} {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	return strings.Join(parts, ", ")
}

// spinner turns while an iteration runs.
var spinner = []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")

// frame is the lines at the bottom: the running iteration with its phases, or that the loop waits; and the evidence of what failed last.
func (l *live) frame(now time.Time) []string {
	dim := func(text string) string { return l.paint("2", text) }
	lines := []string{""}
	switch it := l.current; {
	case it != nil:
		turn := string(spinner[int(now.UnixMilli()/int64(liveEvery/time.Millisecond))%len(spinner)])
		text := fmt.Sprintf("%s %s %s · %s", turn, it.ID, it.Revision, it.Phase)
		if it.Revision == "" {
			text = fmt.Sprintf("%s %s · %s", turn, it.ID, it.Phase)
		}
		begun, parts := it.Started, []string{}
		for _, p := range it.Ledger {
			begun += p.NS
			if p.NS >= int64(time.Millisecond) {
				parts = append(parts, fmt.Sprintf("%s %s", p.Phase, milliseconds(p.NS)))
			}
		}
		lines = append(lines, fmt.Sprintf("%s %s  %s", l.paint("1", text), milliseconds(max(0, now.UnixNano()-begun)), dim(strings.Join(parts, " · "))))
	case l.watching && l.last != nil:
		lines = append(lines, fmt.Sprintf("%s  %s", l.paint("1", strings.TrimSpace("watching "+l.last.Revision)), dim("save a file, or press Ctrl-C to end")))
	default:
		lines = append(lines, dim("starting"))
	}
	return append(lines, l.proof()...)
}

// proof is the check that failed last, with the gravest calls behind it.
func (l *live) proof() []string {
	if l.last == nil {
		return nil
	}
	at := slices.IndexFunc(l.last.Checks, func(c traffic.CheckResult) bool { return c.Verdict == traffic.Fail })
	if at < 0 {
		return nil
	}
	c := &l.last.Checks[at]
	lines := []string{fmt.Sprintf("%s %s", l.paint(colours[traffic.Fail], traffic.Fail.Sign()+" "+checkName(*c)), l.paint("2", l.last.ID))}
	for i, e := range c.Evidence {
		if i == 3 {
			lines = append(lines, l.paint("2", fmt.Sprintf("    and %d more", max(c.EvidenceTotal, len(c.Evidence))-i)))
			break
		}
		lines = append(lines, "    "+harmless(e.Summary))
	}
	return lines
}
