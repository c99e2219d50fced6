package dissect_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// serveEvents is a server of Server-Sent Events with every kind of line that they have.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	flush := w.(http.Flusher).Flush
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	if r.URL.Path == "/refused" {
		w.WriteHeader(http.StatusNoContent) // no more events, says the standard
		return
	}
	if r.URL.Path == "/packed" {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for i := range 3 {
			fmt.Fprintf(z, "data: %d\n\n", i)
			z.Flush()
			flush()
		}
		z.Close()
		return
	}
	flush()
	for _, part := range []string{": a comment is no event\n\n", "retry: 3000\nid: 1\nevent: order\ndata: one\ndata: and more\n\n", "id: 2\r\ndata: two\r\n\r\n", "da", "ta: three\n\n"} {
		fmt.Fprint(w, part)
		flush()
		<-time.After(20 * time.Millisecond)
	}
	switch r.URL.Path {
	case "/endless":
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // or it would answer to nobody
	case "/cut":
		panic(http.ErrAbortHandler)
	}
}

// readEvents reads a stream with the fetch of Node.js, which is undici's.
const readEvents = `const a = await fetch(process.argv[1], {headers: {accept: "text/event-stream"}}); for await (const _ of a.body) {}`

func everyEvent(string) func() error {
	return func() error {
		l, err := net.Listen("tcp", "127.0.0.1:8080")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: http.HandlerFunc(serveEvents)}
		go server.Serve(l)
		defer server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
		defer cancel()
		var all error
		for _, args := range [][]string{
			{"curl", "-sN", base + "/events"},
			{"curl", "-sN", "--compressed", base + "/packed"},
			{"curl", "-sN", base + "/refused"},
			{"!curl", "-sN", "--max-time", "0.5", base + "/endless"},
			{"!curl", "-sN", base + "/cut"},
			{"node", "--input-type=module", "-e", readEvents, base + "/events?from=node"},
		} {
			program, fails := strings.CutPrefix(args[0], "!")
			if err := exec.CommandContext(ctx, program, args[1:]...).Run(); (err != nil) != fails {
				all = errors.Join(all, fmt.Errorf("%v: %v", args, err))
			}
		}
		return all
	}
}

// TestEventsReal compares what was read with what curl and Node.js were told.
func TestEventsReal(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "curl")
	testenv.NeedsProgram(t, "node")
	file := filepath.Join(t.TempDir(), "events.pcapng")
	child(t, "events", file)
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %d %s %d of %v %s", c.Path, c.HTTP.Query, c.Status, c.State, c.HTTP.Events, c.HTTP.EventStream, c.Error)))
	}
	want := []string{"/events  200 complete 3 of true", "/packed  200 complete 0 of true", "/refused  204 complete 0 of true", "/endless  200 truncated 3 of true cancelled",
		"/cut  200 truncated 3 of true truncated", "/events from=node 200 complete 3 of true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("streams (-want +got):\n%s", diff)
	}
	for kfl, n := range map[string]int{
		`http && event_stream`: 6,
		`stream.events == 3`:   4,
		`stream.time_to_first_event >= duration("20ms") && stream.time_to_first_event < duration("10s")`: 4, // behind the comment and its pause
		`stream.idle_gap >= duration("20ms") && stream.idle_gap < duration("10s")`:                       4,
		`stream.idle_gap >= duration("200ms") && path == "/endless"`:                                     1, // until curl had enough
		`path == "/packed" && response.body.contains("data: 2")`:                                         1,
		`response.body.contains("retry: 3000\nid: 1\nevent: order\ndata: one\ndata: and more\n\n")`:      4,
		`request.headers["accept"] == "text/event-stream" && query_string["from"] == "node"`:             1,
	} {
		if got := count(t, kfl, calls); got != n {
			t.Errorf("%s selects %d calls, want %d", kfl, got, n)
		}
	}
	for _, c := range conns {
		if c.Undecoded+c.Missing > 0 {
			t.Errorf("%s to %s: %d bytes not decoded, %d missing", c.L7, c.Dst.Addr(), c.Undecoded, c.Missing)
		}
	}
	joinEvents(t, file, calls)
}

// joinEvents begins within the streams: nothing says there what the bytes are, and they are counted.
func joinEvents(t *testing.T, file string, calls []*traffic.Call) {
	packets, ifaces := readPackets(file, 1<<20)
	for _, c := range calls {
		if c.HTTP.Events == 0 {
			continue
		}
		var got rows
		feed(dissect.New(got.into()), packets[c.ResponsePackets.First:c.ResponsePackets.Last], ifaces)
		var undecoded uint64
		for _, k := range got.Connections {
			undecoded += k.Undecoded
		}
		if len(got.Calls) > 0 || undecoded == 0 {
			t.Errorf("joined within %s: %d calls, %d bytes not decoded", c.Path, len(got.Calls), undecoded)
		}
	}
}
