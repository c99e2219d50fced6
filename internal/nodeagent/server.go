package nodeagent

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/internal/buildinfo"
)

// handler is the agent's API.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /health":         a.getHealth,
		"GET /version":        a.getVersion,
		"GET /stats":          a.getStats,
		"GET /metrics":        a.getMetrics,
		"GET /boundaries":     a.getBoundaries,
		"GET /segments":       a.getSegments,
		"GET /segments/{seq}": a.getSegment,
		"GET /stream":         a.getStream,
		"GET /targets":        a.getTargets,
		"PUT /targets":        a.putTargets,
		"GET /faults":         a.getFaults,
		"PUT /faults":         a.putFaults,
		"POST /flush":         a.postFlush,
		"POST /rotate":        a.postRotate,
		"POST /snapshot":      a.postSnapshot,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			// Streams extend this as they go.
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writing))
			if err := h(w, r); err != nil {
				answerError(w, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, &refusal{http.StatusNotFound, "no such thing: " + r.Method + " " + trimmed(r.URL.Path), "the agent answers /health, /version, /segments, /stream, /boundaries, /snapshot, /targets, /faults, /flush, /rotate, /stats and /metrics"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.allowed(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answerError(w, &refusal{http.StatusUnauthorized, "the token is missing or wrong", "send Authorization: Bearer TOKEN, with the token of the agent's Secret"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// writing is how long a reader may take nothing of an answer.
const writing = 30 * time.Second

func digest(token string) [32]byte { return sha256.Sum256([]byte(token)) }

// allowed compares in constant time; the sums are of the same length whatever was sent.
func (a *Agent) allowed(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	sum := digest(token)
	return subtle.ConstantTimeCompare(sum[:], a.tokenSum[:]) == 1 && ok
}

// refusal is an error with its status and hint.
type refusal struct {
	status int
	what   string
	hint   string
}

func (f *refusal) Error() string { return f.what }

func badRequest(what, hint string) error { return &refusal{http.StatusBadRequest, what, hint} }

// trimmed keeps what others sent short.
func trimmed(s string) string {
	if len(s) > 100 {
		s = s[:100] + "…"
	}
	return s
}

func answerError(w http.ResponseWriter, err error) {
	f := &refusal{http.StatusInternalServerError, err.Error(), ""}
	errors.As(err, &f)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	json.NewEncoder(w).Encode(agent.Problem{Message: f.what, Hint: f.hint})
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error is the reader's
	return nil
}

func (a *Agent) health() agent.Health {
	st := a.source.Stats()
	h := agent.Health{OK: true, Node: a.o.Node, Source: a.source.Name(), Degraded: a.degraded, Kernel: kernel(), Version: buildinfo.Version(), Run: a.ring.run,
		Started: a.started.UnixNano(), Now: time.Now().UnixNano(), Packets: a.packets.Load(), Dropped: st.Dropped, Streams: int(a.streams.Load())}
	if a.groups != nil {
		h.CGroups = len(a.groups.all())
	}
	h.RSS, h.CPU = usage()
	if p := a.problem.Load(); p != nil {
		h.OK, h.Problem = false, *p
	}
	if a.source.Name() == "none" {
		h.OK, h.Problem = false, a.degraded
	}
	return h
}

func (a *Agent) getHealth(w http.ResponseWriter, _ *http.Request) error { return answer(w, a.health()) }

func (a *Agent) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, agent.Version{Version: buildinfo.Version(), Commit: buildinfo.Commit(), Arch: runtime.GOARCH, API: agent.API})
}

func (a *Agent) getStats(w http.ResponseWriter, _ *http.Request) error { return answer(w, a.stats()) }

func (a *Agent) getBoundaries(w http.ResponseWriter, _ *http.Request) error {
	if err := a.ring.publish(); err != nil {
		return err
	}
	b := agent.Boundaries{Node: a.o.Node, Source: a.source.Name(), Degraded: a.degraded, Limit: a.o.RingSize, Packets: a.packets.Load(), Dropped: a.source.Stats().Dropped}
	for _, s := range a.ring.list() {
		b.Segments++
		b.Bytes += s.Bytes
		if b.Oldest == 0 || s.First != 0 && s.First < b.Oldest {
			b.Oldest = s.First
		}
		b.Newest = max(b.Newest, s.Last)
	}
	b.Position, _ = a.ring.position()
	return answer(w, b)
}

func (a *Agent) getSegments(w http.ResponseWriter, r *http.Request) error {
	after, err := number(r.URL.Query(), "after")
	if err != nil {
		return err
	}
	list := agent.Segments{Ring: a.ring.id, Segments: []agent.Segment{}}
	for _, s := range a.ring.list() {
		if s.Seq > uint64(after) {
			list.Segments = append(list.Segments, s)
		}
	}
	return answer(w, list)
}

// number reads an optional number of a query.
func number(q url.Values, name string) (int64, error) {
	text := q.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest(fmt.Sprintf("%s is %q", name, trimmed(text)), name+" is a number that is not negative")
	}
	return n, nil
}

func (a *Agent) getSegment(w http.ResponseWriter, r *http.Request) error {
	seq, err := strconv.ParseUint(r.PathValue("seq"), 10, 64)
	if err != nil {
		return badRequest(fmt.Sprintf("%q is no segment's number", trimmed(r.PathValue("seq"))), "GET /segments lists them")
	}
	s, ok := a.ring.at(seq)
	if !ok || s.Seq != seq {
		return &refusal{http.StatusNotFound, fmt.Sprintf("segment %d is not in the ring", seq), "GET /segments lists what is"}
	}
	f, err := a.ring.open(seq)
	if err != nil {
		return err
	}
	defer f.Close()
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(10 * time.Minute))
	w.Header().Set("Content-Type", "application/x-pcapng")
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(f, 0, s.Bytes))
	return nil
}

func (a *Agent) getTargets(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, a.targets())
}

const maxRules = 1 << 20 // bytes

func (a *Agent) putTargets(w http.ResponseWriter, r *http.Request) error {
	const hint = `such as {"pods": ["UID"], "exclude": [], "ports": [8080], "unknown": "ignore", "host": false}`
	var rules agent.Rules
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRules))
	d.DisallowUnknownFields()
	if err := d.Decode(&rules); err != nil {
		return badRequest("read targets: "+err.Error(), hint)
	}
	if err := rules.Validate(); err != nil {
		return badRequest(err.Error(), hint)
	}
	if err := a.target(rules); err != nil {
		return err
	}
	return answer(w, a.targets())
}

func (a *Agent) postFlush(w http.ResponseWriter, r *http.Request) error {
	return a.answerFlushed(r.Context(), w, false)
}

func (a *Agent) postRotate(w http.ResponseWriter, r *http.Request) error {
	return a.answerFlushed(r.Context(), w, true)
}

func (a *Agent) answerFlushed(ctx context.Context, w http.ResponseWriter, rotate bool) error {
	f, err := a.flush(ctx, rotate)
	if err != nil {
		return err
	}
	return answer(w, f)
}

// postSnapshot ends the growing segment and says which segments hold a span of time. It keeps none of them: they leave the
// ring when it is full, like all others.
func (a *Agent) postSnapshot(w http.ResponseWriter, r *http.Request) error {
	from, err := number(r.URL.Query(), "from")
	if err != nil {
		return err
	}
	to, err := number(r.URL.Query(), "to")
	if err != nil {
		return err
	}
	if to != 0 && to < from {
		return badRequest("to lies before from", "both are Unix times in nanoseconds")
	}
	if _, err := a.flush(r.Context(), true); err != nil {
		return err
	}
	list := agent.Segments{Ring: a.ring.id, Segments: []agent.Segment{}}
	for _, s := range a.ring.list() {
		// Those of an earlier run are not read for this: they may hold anything.
		outside := s.First != 0 && (s.Last < from || to != 0 && s.First > to)
		if !s.Growing && !outside && (s.First != 0 || s.Packets == 0) {
			list.Segments = append(list.Segments, s)
		}
	}
	return answer(w, list)
}

// getStream sends the ring from a position on, and goes on with what comes. It is a pcapng file without end, of one
// section a segment. Without a position it begins now, with a new segment.
func (a *Agent) getStream(w http.ResponseWriter, r *http.Request) error {
	var at agent.Position
	if text := r.URL.Query().Get("after"); text != "" {
		if err := at.UnmarshalText([]byte(text)); err != nil {
			return badRequest(err.Error(), "positions come from POST /flush, POST /rotate and GET /boundaries")
		}
	} else {
		f, err := a.flush(r.Context(), true)
		if err != nil {
			return err
		}
		at = f.Position
	}
	if a.streams.Add(1) > int64(a.o.Streams) {
		a.streams.Add(-1)
		return &refusal{http.StatusServiceUnavailable, fmt.Sprintf("%d streams are open already", a.o.Streams), "close one, or fetch segments"}
	}
	defer a.streams.Add(-1)
	w.Header().Set("Content-Type", "application/x-pcapng")
	w.Header().Set("X-Devloop-Position", at.String())
	f := follower{ring: a.ring, at: at, pulse: r.URL.Query().Get("after") == "", w: w, control: http.NewResponseController(w), buf: make([]byte, publishBytes)}
	defer f.close()
	f.control.SetReadDeadline(time.Time{}) // the request was read; its deadline would end the stream
	if at.Ring != a.ring.id {              // of a ring that is no more: all of this one is new
		f.at = agent.Position{Ring: a.ring.id}
	}
	f.follow(r.Context())
	return nil
}

// follower copies the ring to a reader.
type follower struct {
	ring    *ring
	at      agent.Position
	pulse   bool // a reader without a position, such as curl | tshark -i -, gets a block now and then that says nothing
	w       io.Writer
	control *http.ResponseController
	buf     []byte
	file    *os.File // of segment at.Segment
}

// follow runs until the reader or ctx ends.
func (f *follower) follow(ctx context.Context) {
	f.control.Flush() // the header: the reader knows that it is connected
	pulse := time.NewTicker(pulseEvery)
	defer pulse.Stop()
	for {
		more := f.ring.more()
		for {
			moved, err := f.copy()
			if err != nil {
				return
			}
			if !moved {
				break
			}
		}
		if f.control.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-pulse.C:
			if f.pulse && f.beat() != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// pulseEvery is how long a quiet stream is silent.
const pulseEvery = time.Second

// nothing is a name resolution block without names: type 4, length 16, end of records, length 16. Wireshark shows a custom
// block as a packet, and not this one.
var nothing = []byte{4, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0}

// beat sends it between two blocks. curl does not see that the program after it in a pipe has ended before it writes, so on
// a quiet stream `curl … | tshark -i - -c 4` would not end.
func (f *follower) beat() error {
	if f.at.Offset == 0 { // no section has begun
		return nil
	}
	if err := f.control.SetWriteDeadline(time.Now().Add(writing)); err != nil {
		return err
	}
	_, err := f.w.Write(nothing)
	return err
}

// copy sends what is there of one segment, or goes on to the next. A segment that left the ring is read to its end as
// long as its file is open; otherwise its rest is missing, and the next one's header says so.
func (f *follower) copy() (moved bool, err error) {
	s, ok := f.ring.at(f.at.Segment)
	switch {
	case !ok:
		return false, nil
	case s.Seq != f.at.Segment && f.file != nil:
		return true, f.finish(s.Seq)
	case s.Seq != f.at.Segment:
		f.at.Segment, f.at.Offset = s.Seq, 0
	}
	if f.file == nil {
		if f.file, err = f.ring.open(s.Seq); err != nil {
			if errors.Is(err, os.ErrNotExist) { // it left meanwhile
				f.at.Segment, f.at.Offset = f.at.Segment+1, 0
				return true, nil
			}
			return false, err
		}
	}
	if f.at.Offset < s.Bytes {
		return true, f.send(s.Bytes)
	}
	if s.Growing {
		return false, nil
	}
	f.next(s.Seq + 1)
	_, ok = f.ring.at(f.at.Segment)
	return ok, nil
}

func (f *follower) next(seq uint64) {
	f.close()
	f.at.Segment, f.at.Offset = seq, 0
}

// finish sends the rest of a segment that is no longer in the ring.
func (f *follower) finish(next uint64) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if err := f.send(info.Size()); err != nil {
		return err
	}
	f.next(next)
	return nil
}

// send copies up to a place in the file.
func (f *follower) send(to int64) error {
	for f.at.Offset < to {
		n, err := f.file.ReadAt(f.buf[:min(int64(len(f.buf)), to-f.at.Offset)], f.at.Offset)
		if n == 0 {
			return err
		}
		if err := f.control.SetWriteDeadline(time.Now().Add(writing)); err != nil {
			return err
		}
		m, err := f.w.Write(f.buf[:n])
		f.at.Offset += int64(m)
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}
