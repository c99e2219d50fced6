package devloop

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/traffic"
)

// shown adds to the findings that matter the calls that show them, and the change of source that may be to blame: in the service at
// fault, since the commit that is compared with.
func (s *Session) shown(ctx context.Context, report *baseline.Report, now *traffic.Iteration, commit string) {
	d, _, _, err := s.dissection(now)
	if err == nil {
		d = ofRevision(d, now.Revision)
	}
	hunks := changedSince(ctx, s.workspace, strings.TrimSuffix(commit, "+"))
	s.mu.Lock()
	src := s.sources
	s.mu.Unlock()
	touched := map[string][]hunk{}
	for i := range hunks {
		if src != nil {
			for _, service := range src.touched([]string{hunks[i].file}) {
				touched[service] = append(touched[service], hunks[i])
			}
		}
	}
	for i := range report.Findings {
		f := &report.Findings[i]
		if f.Verdict != traffic.Fail && f.Verdict != traffic.Inconclusive {
			continue
		}
		if d != nil {
			var calls []*traffic.Call
			for _, c := range d.Calls {
				if c != nil && !c.Background && baseline.Shows(f, c) {
					calls = append(calls, c)
				}
			}
			if f.Kind == traffic.FindingLatency {
				slices.SortStableFunc(calls, func(a, b *traffic.Call) int { return cmp.Compare(b.Latency(), a.Latency()) })
			}
			f.Evidence = assertions.CallEvidence(calls)
		}
		if h, ok := blamed(f, touched); ok {
			f.File, f.Line = h.file, h.line
		}
	}
}

// hunk is one changed place.
type hunk struct {
	file string // relative to the workspace
	line int    // of the new text, from 1
	text string // what was added and removed, in lower case
}

// What is read of a difference at most.
const (
	mostHunks = 2000
	mostDiff  = 8 << 20 // bytes
)

// changedSince lists what differs in a workspace from a commit; nothing where git cannot tell.
func changedSince(ctx context.Context, dir, commit string) []hunk {
	if commit == "" || strings.HasPrefix(commit, "-") {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "-c", "core.quotepath=off", "diff", "--no-color", "--no-ext-diff", "--no-prefix", "--unified=0", "--relative", commit, "--", ".", ":(exclude).devloop")
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return nil
	}
	hunks := readHunks(io.LimitReader(out, mostDiff))
	cancel() // what was not read is not wanted
	_ = cmd.Wait()
	return hunks
}

// readHunks reads a unified difference without context and without prefixes.
func readHunks(r io.Reader) []hunk {
	var hunks []hunk
	file := ""
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, mostDiff)
	for scan.Scan() && len(hunks) < mostHunks {
		line := scan.Text()
		switch {
		case strings.HasPrefix(line, "diff --git "):
			file = ""
		case strings.HasPrefix(line, "+++ ") && file == "":
			if name := strings.TrimSuffix(strings.TrimPrefix(line, "+++ "), "\t"); name != "/dev/null" {
				file = filepath.ToSlash(name)
			}
		case strings.HasPrefix(line, "@@ ") && file != "":
			hunks = append(hunks, hunk{file: file, line: newLine(line)})
		case len(hunks) > 0 && hunks[len(hunks)-1].file == file && (strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-")):
			h := &hunks[len(hunks)-1]
			h.text += strings.ToLower(line[1:]) + "\n"
		}
	}
	return hunks
}

// newLine is the first line of the new text that a hunk's head names: "@@ -3,2 +4,5 @@".
func newLine(head string) int {
	_, rest, _ := strings.Cut(head, "+")
	digits, _, _ := strings.Cut(rest, " ")
	digits, _, _ = strings.Cut(digits, ",")
	n, _ := strconv.Atoi(digits) // 0 where lines were only removed from the top
	return max(1, n)
}

// blamed is the change that a finding may come from: one of the service at fault, else of the other end, else of the only service that
// changed at all. Of several the one that speaks most of what is asked.
func blamed(f *traffic.Finding, touched map[string][]hunk) (hunk, bool) {
	client, server, asked := ends(f.Where)
	order := []string{client, server}
	if f.Kind == traffic.FindingLatency || f.Kind == traffic.FindingStatus || strings.HasPrefix(f.What, "response ") {
		order = []string{server, client}
	}
	if len(touched) == 1 {
		for only := range touched {
			order = append(order, only)
		}
	}
	for _, service := range order {
		if hunks := touched[service]; len(hunks) > 0 {
			return slices.MaxFunc(hunks, func(a, b hunk) int {
				return cmp.Compare(a.speaks(f.Kind, server, asked), b.speaks(f.Kind, server, asked))
			}), true
		}
	}
	return hunk{}, false
}

// ends takes apart the name of an edge or endpoint: "cart -> catalogue:8080 GET /items/{id}".
func ends(where string) (client, server, asked string) {
	client, rest, _ := strings.Cut(where, " -> ")
	edge, asked, _ := strings.Cut(rest, " ")
	if i := strings.LastIndexByte(edge, ':'); i >= 0 {
		edge = edge[:i]
	}
	return client, edge, asked
}

// tells are words in a change that a kind of finding often comes with.
var tells = map[string][]string{
	traffic.FindingRetry:   {"retry", "retries", "attempt", "again"},
	traffic.FindingReuse:   {"http.client{", "transport", "keepalive", "keep-alive", "close", "newclient", "dial"},
	traffic.FindingLatency: {"sleep", "lock", "query", "timeout"},
	traffic.FindingEdge:    {"http", "dial", "url", "host"},
}

// speaks counts how many words of a finding a change has.
func (h hunk) speaks(kind, server, asked string) int {
	n := 0
	if strings.HasSuffix(h.file, "go.sum") || strings.HasSuffix(h.file, "go.mod") {
		n -= 100
	}
	if server != "" && strings.Contains(h.text, strings.ToLower(server)) {
		n += 2
	}
	for _, word := range strings.FieldsFunc(strings.ToLower(asked), func(r rune) bool { return r == '/' || r == ' ' }) {
		if len(word) > 2 && word[0] != '{' && strings.Contains(h.text, word) {
			n++
		}
	}
	for _, word := range tells[kind] {
		if strings.Contains(h.text, word) {
			n++
		}
	}
	return n
}
