package dissect_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// truth is one line of truth.jsonl: what tshark says is in a capture.
type truth struct {
	File   string              `json:"file"`
	HTTP   [][2]string         `json:"http"`
	Status []int               `json:"http_status"`
	HTTP2  [][2]string         `json:"http2"`
	Codes2 []int               `json:"http2_status"`
	DNS    [][2]any            `json:"dns"`
	SNI    []string            `json:"sni"`
	Redis  []string            `json:"redis"` // texts, in hexadecimal
	PGSQL  []string            `json:"pgsql"`
	TCP    map[string]tcpTruth `json:"tcp"`
}

type tcpTruth struct {
	Pkts         int   `json:"pkts"`
	RST          int   `json:"rst"`
	FIN          int   `json:"fin"`
	Retrans      int   `json:"retransmissions"`
	Fast         int   `json:"fast_retransmissions"`
	OutOfOrder   int   `json:"out_of_order"`
	DupAcks      int   `json:"dup_acks"`
	Lost         int   `json:"missing_segments"`
	ZeroWindow   int   `json:"zero_window_events"`
	WindowFull   int   `json:"window_full_events"`
	KeepAlive    int   `json:"keepalive_count"`
	InitialRTT   int64 `json:"initial_rtt_us"`
	Completeness int   `json:"connection_completeness"`
}

// kinds are compared with tshark; what belongs together has one bar. testdata/known.txt names the captures that lack
// something and says why; any other that lacks anything fails.
var kinds = []struct {
	what string
	of   []string
	bar  float64
}{
	{"HTTP/1 and HTTP/2 requests", []string{"http", "http2"}, 0.995},
	{"HTTP/1 and HTTP/2 statuses", []string{"http_status", "http2_status"}, 0.995},
	{"DNS questions", []string{"dns"}, 0.99},
	{"PostgreSQL queries", []string{"pgsql"}, 0.99},
	{"Redis values", []string{"redis"}, 0.99},
	{"TLS and QUIC server names", []string{"sni"}, 0.99},
}

// TestTruth compares what is found in foreign captures with what tshark finds in them.
func TestTruth(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	x := newCallTally()
	known := readKnown(t)
	for _, want := range readTruth(t, dir) {
		began := time.Now()
		calls, _, err := dissectFile(filepath.Join(dir, want.File))
		if err != nil {
			t.Logf("%s: %v", want.File, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v", want.File, took)
		}
		x.compare(&want, calls, func(kind string, missing []string, of int) {
			why := known[want.File]
			if why == "" {
				t.Errorf("%s: %s: lacks %.200q of %d, and testdata/known.txt does not say why", want.File, kind, missing, of)
			}
			report(t, "4-differences", fmt.Sprintf("%s: %d of %d %s: %s", want.File, len(missing), of, kind, why))
		})
	}
	x.judge(t, "1-calls")
}

// callTally counts what tshark shows, and how much of it we have.
type callTally struct{ found, wanted map[string]int }

func newCallTally() *callTally { return &callTally{map[string]int{}, map[string]int{}} }

// compare counts the calls of a capture; lacks is told what is missing.
func (x *callTally) compare(want *truth, calls []*traffic.Call, lacks func(kind string, missing []string, of int)) {
	got := summarise(calls)
	for kind, list := range want.lists() {
		missing := subtract(list, got[kind])
		x.wanted[kind] += len(list)
		x.found[kind] += len(list) - len(missing)
		if len(missing) > 0 {
			lacks(kind, missing, len(list))
		}
	}
}

// comparisons are the sums, in the order of kinds.
func (x *callTally) comparisons() (all []comparison) {
	for _, k := range kinds {
		c := comparison{what: k.what, bar: k.bar}
		for _, kind := range k.of {
			c.ours, c.tshark = c.ours+x.found[kind], c.tshark+x.wanted[kind]
		}
		all = append(all, c)
	}
	return all
}

func (x *callTally) judge(t *testing.T, section string) {
	for _, c := range x.comparisons() {
		c.judge(t, section)
	}
}

// readKnown is the reason for each capture that lacks something.
func readKnown(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/known.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if file, why, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && file[0] != '#' {
			known[file] = why
		}
	}
	return known
}

func readTruth(t *testing.T, dir string) (all []truth) {
	f, err := os.Open(filepath.Join(dir, "truth.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var x truth
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

func dissectFile(path string) (calls []*traffic.Call, conns []*traffic.Connection, err error) {
	r, err := pcapfile.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	_, err = dissect.Run(context.Background(), r.Next, r.Interface, dissect.Options{
		Quotes:       true, // as tshark, and `devloop dissect`
		OnCall:       func(c *traffic.Call) { calls = append(calls, c) },
		OnConnection: func(c *traffic.Connection) { conns = append(conns, c) },
	})
	return calls, conns, err
}

func (w *truth) lists() map[string][]string {
	out := map[string][]string{}
	for _, x := range w.HTTP {
		if rest, ok := strings.CutPrefix(x[1], "http://"); ok { // sent to a proxy: the host is a field of its own here
			_, path, _ := strings.Cut(rest, "/")
			x[1] = "/" + path
		}
		if x[0] != "M-SEARCH" && x[0] != "NOTIFY" { // HTTP over UDP multicast is no HTTP/1
			out["http"] = append(out["http"], x[0]+" "+x[1])
		}
	}
	for _, x := range w.Status {
		out["http_status"] = append(out["http_status"], strconv.Itoa(x))
	}
	for _, x := range w.HTTP2 {
		out["http2"] = append(out["http2"], x[0]+" "+x[1])
	}
	for _, x := range w.Codes2 {
		out["http2_status"] = append(out["http2_status"], strconv.Itoa(x))
	}
	for _, x := range w.DNS {
		name := strings.ToLower(fmt.Sprint(x[0]))
		if name == "<root>" {
			name = ""
		}
		out["dns"] = append(out["dns"], name)
	}
	out["sni"] = w.SNI
	out["pgsql"] = w.PGSQL
	for _, x := range w.Redis {
		b, _ := hex.DecodeString(x)
		out["redis"] = append(out["redis"], strings.ToLower(string(b)))
	}
	return out
}

func summarise(calls []*traffic.Call) map[string][]string {
	out := map[string][]string{}
	for _, c := range calls {
		switch c.Protocol {
		case traffic.ProtoHTTP:
			kind := "http"
			if c.HTTP.Version == "2" {
				kind = "http2"
			}
			if c.Method != "" {
				target := c.Path
				if c.HTTP.Query != "" {
					target += "?" + c.HTTP.Query
				}
				out[kind] = append(out[kind], c.Method+" "+target)
			}
			if c.HTTP.Continued {
				out[kind+"_status"] = append(out[kind+"_status"], "100")
			}
			if c.Status != 0 || c.Error == traffic.ErrorProtocol && len(c.HTTP.ResponseHeaders) > 0 { // "000"
				out[kind+"_status"] = append(out[kind+"_status"], strconv.Itoa(c.Status))
			}
		case traffic.ProtoDNS:
			if c.State != traffic.StateHalf {
				out["dns"] = append(out["dns"], strings.ToLower(c.Path))
			}
		case traffic.ProtoTLS:
			out["sni"] = append(out["sni"], c.Path)
		case traffic.ProtoPostgreSQL:
			out["pgsql"] = append(out["pgsql"], strings.NewReplacer("\n", `\n`, "\t", `\t`, "\r", `\r`).Replace(c.PostgreSQL.Query))
		case traffic.ProtoRedis:
			for _, text := range redisTexts(c) {
				out["redis"] = append(out["redis"], strings.ToLower(text))
			}
		}
	}
	return out
}

// redisTexts are the texts of a command and of its reply.
func redisTexts(c *traffic.Call) []string {
	texts := append([]string{c.Method}, c.Redis.Args...)
	if c.Redis.Type == "string" {
		return append(texts, c.Redis.Reply)
	}
	reply := c.Redis.Reply
	if c.Redis.ReplyCut { // perhaps within a text
		reply += `"`
	}
	for d := json.NewDecoder(strings.NewReader(reply)); ; {
		token, err := d.Token()
		if err != nil {
			return texts
		}
		if text, ok := token.(string); ok {
			texts = append(texts, text)
		}
	}
}

// subtract is want without got, as multisets.
func subtract(want, got []string) (missing []string) {
	have := map[string]int{}
	for _, g := range got {
		have[g]++
	}
	for _, w := range want {
		if have[w]--; have[w] < 0 {
			missing = append(missing, w)
		}
	}
	return missing
}
