package assertions

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A case is a sentence, check.netcheck.yaml, calls.jsonl and perhaps connections.jsonl, account.json and input.json in short
// form (see shortCall), and want.txt: the results, or the mistakes in the file.
func TestCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.TrimSpace(archive.Comment)) == 0 {
				t.Fatal("a case begins with a sentence that says what is checked")
			}
			got := runCase(t, archive)
			if *update {
				setFile(archive, "want.txt", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(fileOf(archive, "want.txt"), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func fileOf(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setFile(a *txtar.Archive, name, data string) {
	for i := range a.Files {
		if a.Files[i].Name == name {
			a.Files[i].Data = []byte(data)
			return
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(data)})
}

func runCase(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	s, err := Parse("check.netcheck.yaml", []byte(fileOf(a, "check.netcheck.yaml")))
	if err != nil {
		var all config.Errors
		if !errors.As(err, &all) {
			t.Fatalf("%v is no list of mistakes", err)
		}
		text := ""
		for _, e := range all {
			text += e.Error() + "\n"
		}
		return text
	}
	in := inputOf(t, a)
	options := CheckOptions{NoBuiltin: !strings.Contains(string(a.Comment), "built-in")}
	results := s.Check(in, options)
	again := s.Check(in, options)
	if diff := cmp.Diff(encode(t, results), encode(t, again)); diff != "" {
		t.Errorf("the same input gave another output:\n%s", diff)
	}
	return render(results)
}

func encode(t *testing.T, results []traffic.CheckResult) string {
	t.Helper()
	data, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// render is a result in lines that a person can read.
func render(results []traffic.CheckResult) string {
	var b strings.Builder
	for _, r := range results {
		name := r.Name
		if r.Group != "" {
			name += " [" + r.Group + "]"
		}
		fmt.Fprintf(&b, "%s: %s\n  %s\n", r.Verdict, name, r.Reason)
		fmt.Fprintf(&b, "  n %d %s, severity %s", r.N, r.Unit, r.Severity)
		if r.Basis != "" {
			b.WriteString(", basis " + r.Basis)
		}
		if r.NeedMore > 0 {
			fmt.Fprintf(&b, ", needs %d more", r.NeedMore)
		}
		b.WriteString("\n")
		for _, x := range r.Terms {
			fmt.Fprintf(&b, "  term %s = %s", x.Text, x.Value)
			if x.Low+x.High != "" {
				fmt.Fprintf(&b, " in %s..%s", x.Low, x.High)
			}
			fmt.Fprintf(&b, " over %d", x.N)
			if x.Exact {
				b.WriteString(" exact")
			}
			b.WriteString("\n")
		}
		for _, v := range r.Vacuous {
			b.WriteString("  vacuous " + v + "\n")
		}
		if r.Loss != "" {
			b.WriteString("  loss " + r.Loss + "\n")
		}
		for _, e := range r.Evidence {
			id := e.Call
			if id == "" {
				id = fmt.Sprint("connection ", e.Connection)
			}
			fmt.Fprintf(&b, "  evidence %s packets %d-%d: %s\n", id, e.Packets.First, e.Packets.Last, e.Summary)
		}
		if r.EvidenceTotal > len(r.Evidence) {
			fmt.Fprintf(&b, "  evidence of %d in all\n", r.EvidenceTotal)
		}
	}
	verdict, code := Summary(results, false)
	fmt.Fprintf(&b, "summary: %s, exit %d\n", verdict, code)
	return b.String()
}

// shortCall is a call in short: times are milliseconds after second 1000.
type shortCall struct {
	From, To, Method, Path string
	Proto                  string            // http unless said otherwise
	Version                uint16            // of TLS; Path is the server name
	Status                 int               // 200 unless there is no answer
	At, MS                 float64           // start and length
	State, Error           string            //
	Conn                   uint64            // connection; a new one unless said otherwise
	Index                  *int              // on its connection; counted unless said otherwise
	Retry                  []float64         // attempt, attempts, delay in ms, factor, jitter
	Group                  string            // of the retry
	Headers                map[string]string // of the request
	ResponseHeaders        map[string]string
	Trace, Span            string
	Background, Outside    bool // Outside: the server is not part of the system
	Credential             string
	CredentialKind         string
	CredentialPlace        string
	Kind                   string // of the client
	PID                    uint32 // of the client
	Port                   uint16
	Size                   int64
	Fingerprint            string  // of a query: the call is PostgreSQL's
	Cut                    bool    // the request's later headers are missing
	Repeat                 int     // so many alike,
	Every                  float64 // so many ms apart,
	Step                   float64 // each so much longer
}

// shortConn is a connection in short, or what differs from the one that the calls imply.
type shortConn struct {
	ID                               uint64
	From, To, Proto, L7, State       string
	Port                             uint16
	Missing, Undecoded, Encrypted    uint64
	Lost                             uint64
	Before                           uint64 // bytes missing, and as many not decoded, in earlier windows
	Handshake                        float64
	Mid                              bool
	ResetBy                          string
	Opened, Background, Outside, Off bool
}

type shortInput struct {
	Exercise   string
	Start, End float64
	Identities []string // services that are known by address
}

const second1000 = int64(1000 * 1e9)

func at(ms float64) int64 { return second1000 + int64(ms*1e6) }

// addressOf gives every name an address of its own.
func addressOf(name string) netip.Addr {
	var h uint16
	for _, c := range name {
		h = h*31 + uint16(c)
	}
	return netip.AddrFrom4([4]byte{10, 0, byte(h >> 8), byte(h)})
}

func end(name string, port uint16, outside bool) traffic.Endpoint {
	e := traffic.Endpoint{IP: addressOf(name), Port: port, Workload: traffic.Workload{Namespace: "local", Kind: traffic.KindService, Service: name}}
	if outside {
		e.Workload = traffic.Workload{Kind: traffic.KindExternal, DNS: name, Outside: true}
	}
	return e
}

func inputOf(t *testing.T, a *txtar.Archive) Input {
	t.Helper()
	d := &traffic.Dissection{}
	conns := map[uint64]*traffic.Connection{}
	next, packet := uint64(1000), uint64(1)
	indices := map[uint64]int{}
	eachLine(t, fileOf(a, "calls.jsonl"), func(x shortCall) {
		for k := range max(1, x.Repeat) {
			c := callOf(x, k)
			if c.ConnID == 0 {
				next++
				c.ConnID = next
			}
			c.Index = indices[c.ConnID]
			indices[c.ConnID]++
			if x.Index != nil {
				c.Index = *x.Index
			}
			c.ID = fmt.Sprintf("local/%d/%d", c.ConnID, c.Index)
			c.RequestPackets = traffic.PacketRange{First: packet, Last: packet}
			packet++
			if c.Answered() {
				c.ResponsePackets = traffic.PacketRange{First: packet, Last: packet}
				packet++
			}
			if c.Retry != nil && c.Retry.Group == "" {
				c.Retry.Group = c.ID
			}
			d.Calls = append(d.Calls, c)
			conn := conns[c.ConnID]
			if conn == nil {
				conn = &traffic.Connection{ID: c.ConnID, Proto: "tcp", L7: c.Protocol, Src: c.Src, Dst: c.Dst, Start: c.Start, State: traffic.StateEstablished,
					Opened: c.Index == 0, HandshakeClientNS: 1e6, Background: c.Background, Packets: c.RequestPackets}
				conns[c.ConnID] = conn
				d.Connections = append(d.Connections, conn)
			}
			conn.End, conn.Calls, conn.WindowCalls = max(conn.End, c.End), conn.Calls+1, conn.WindowCalls+1
			conn.Packets.Last = packet - 1
		}
	})
	eachLine(t, fileOf(a, "connections.jsonl"), func(x shortConn) {
		conn := conns[x.ID]
		if conn == nil {
			port := x.Port
			if port == 0 {
				port = 8080
			}
			conn = &traffic.Connection{ID: x.ID, Proto: "tcp", L7: "http", Src: end(x.From, 40000, false), Dst: end(x.To, port, x.Outside), Start: at(0), End: at(1),
				State: traffic.StateEstablished, Packets: traffic.PacketRange{First: packet, Last: packet}}
			packet++
			conns[x.ID] = conn
			d.Connections = append(d.Connections, conn)
		}
		if x.Proto != "" {
			conn.Proto = x.Proto
		}
		if x.L7 != "" {
			conn.L7 = x.L7
		}
		if x.State != "" {
			conn.State = traffic.State(x.State)
		}
		conn.WindowMissing, conn.WindowUndecoded, conn.Encrypted, conn.Lost = x.Missing, x.Undecoded, x.Encrypted, x.Lost
		conn.Missing, conn.Undecoded = x.Missing+x.Before, x.Undecoded+x.Before
		conn.MidRequestReset, conn.ResetBy = x.Mid, x.ResetBy
		conn.Background = conn.Background || x.Background
		if x.Handshake > 0 {
			conn.HandshakeClientNS = int64(x.Handshake * 1e6)
		}
	})
	if text := fileOf(a, "account.json"); text != "" {
		if err := json.Unmarshal([]byte(text), &d.Account); err != nil {
			t.Fatal(err)
		}
	}
	derive.All(d.Calls)
	in := Input{Dissection: d, WindowStart: at(0), WindowEnd: at(60_000)}
	if text := fileOf(a, "baseline.yaml"); text != "" {
		in.Baseline.Name, in.Baseline.Host = "baseline.yaml", baseline.Host{OS: "linux", Arch: "amd64", Cores: 2}
		in.Baseline.Baseline, in.Baseline.Err = baseline.Parse([]byte(text))
	}
	if text := fileOf(a, "input.json"); text != "" {
		var x shortInput
		if err := json.Unmarshal([]byte(text), &x); err != nil {
			t.Fatal(err)
		}
		in.Exercise = x.Exercise
		for _, name := range x.Identities {
			in.Identities = append(in.Identities, traffic.Identity{IP: addressOf(name), Workload: end(name, 0, false).Workload})
		}
		if x.End != 0 {
			in.WindowStart, in.WindowEnd = at(x.Start), at(x.End)
		}
	}
	return in
}

func eachLine[T any](t *testing.T, text string, do func(T)) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	for {
		var x T
		err := decoder.Decode(&x)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(x)
	}
}

func callOf(x shortCall, k int) *traffic.Call {
	start := at(x.At + float64(k)*x.Every)
	length := int64((x.MS + float64(k)*x.Step) * 1e6)
	port := x.Port
	if port == 0 {
		port = 8080
	}
	c := &traffic.Call{Protocol: traffic.ProtoHTTP, ConnID: x.Conn, Src: end(x.From, 40000, false), Dst: end(x.To, port, x.Outside), Start: start,
		RequestEnd: start, ResponseStart: start + length, End: start + length, State: traffic.StateComplete, Method: x.Method, Path: x.Path,
		Status: x.Status, Background: x.Background, TraceID: x.Trace, SpanID: x.Span, ResponseSize: x.Size, HTTP: &traffic.HTTP{Version: "1.1"}}
	if x.Proto != "" {
		c.Protocol, c.HTTP = x.Proto, nil
	}
	if x.Fingerprint != "" {
		c.PostgreSQL = &traffic.PostgreSQL{Command: "SELECT", Query: x.Fingerprint, Fingerprint: x.Fingerprint, Success: true}
	}
	if c.Method == "" && x.State != string(traffic.StateHalf) {
		c.Method = "GET"
	}
	if c.HTTP != nil {
		c.HTTP.RequestHeadersCut = x.Cut
	}
	if x.Proto == traffic.ProtoTLS && x.Version != 0 {
		c.TLS = &traffic.TLS{SNI: x.Path, Version: x.Version}
	}
	if x.Kind != "" {
		c.Src.Kind = x.Kind
	}
	c.Src.PID = x.PID
	if x.State != "" {
		c.State, c.Error = traffic.State(x.State), x.Error
	}
	if c.Answered() && c.Status == 0 {
		c.Status = 200
	}
	if !c.Answered() {
		c.ResponseStart, c.Status = 0, 0
	}
	if c.State == traffic.StateOpen {
		c.End = 0
	}
	for _, name := range sortedKeys(x.Headers) {
		c.HTTP.RequestHeaders = append(c.HTTP.RequestHeaders, traffic.Header{Name: name, Value: x.Headers[name]})
	}
	for _, name := range sortedKeys(x.ResponseHeaders) {
		c.HTTP.ResponseHeaders = append(c.HTTP.ResponseHeaders, traffic.Header{Name: name, Value: x.ResponseHeaders[name]})
	}
	if len(x.Retry) >= 2 {
		c.Retry = &traffic.Retry{Group: x.Group, Attempt: int(x.Retry[0]), Attempts: int(x.Retry[1]), Confidence: "exact"}
		for i, v := range x.Retry[2:] {
			switch i {
			case 0:
				c.Retry.DelayNS = int64(v * 1e6)
			case 1:
				c.Retry.Factor = v
			case 2:
				c.Retry.Jitter = v
			}
		}
	}
	if x.Credential != "" {
		kind, place := x.CredentialKind, x.CredentialPlace
		if kind == "" {
			kind = "bearer"
		}
		if place == "" {
			place = "request.header:authorization"
		}
		c.Credentials = []traffic.Credential{{Kind: kind, Place: place, Hash: x.Credential}}
	}
	return c
}
