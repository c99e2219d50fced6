//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// The bugs of the two runs that the questions are asked of. story is the incident of a slow gateway with all that came of
// it: answers of 503, resets, a retry storm, connection churn, calls without a correlation id. drift is a change that went
// wrong in quiet ways.
const (
	story = "payment-timeout,pool-exhaustion,retry-storm,db-churn,no-correlation-id"
	drift = "auth-missing,cache-miss,field-changed,n-plus-one,new-egress,plaintext,sql-slow,token-forwarded"
)

// captured is the traffic of one iteration as its Parquet files have it, read by the test itself.
type captured struct {
	*traffic.Iteration
	calls []*traffic.Call
	conns []*traffic.Connection
}

func (w *workspace) captured(it *traffic.Iteration) *captured {
	w.t.Helper()
	if it.Snapshot == "" {
		w.t.Fatalf("iteration %s has no traffic: %+v", it.ID, it.Failure)
	}
	st, err := store.Open(filepath.Join(w.dir, ".devloop"), store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	sn, err := st.Snapshot(it.Snapshot)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sn.Close()
	d, err := sn.ReadDissection()
	if err != nil {
		w.t.Fatal(err)
	}
	return &captured{it, d.Calls, d.Connections}
}

// all are the calls that a condition holds for.
func (c *captured) all(holds func(*traffic.Call) bool) []*traffic.Call {
	var list []*traffic.Call
	for _, x := range c.calls {
		if holds(x) {
			list = append(list, x)
		}
	}
	return list
}

func (c *captured) find(id string) *traffic.Call {
	for _, x := range c.calls {
		if x.ID == id {
			return x
		}
	}
	return nil
}

// between are the calls from one service to another, of one protocol, with a path where it matters.
func (c *captured) between(src, dst, proto, path string) []*traffic.Call {
	return c.all(func(x *traffic.Call) bool {
		return (src == "" || x.Src.Service == src) && (dst == "" || x.Dst.Service == dst) && (proto == "" || x.Protocol == proto) && (path == "" || x.Path == path)
	})
}

func (c *captured) scope() query.Scope { return query.Scope{Snapshot: c.Snapshot} }

func (c *captured) where(kfl string) query.Selection {
	return query.Selection{Scope: c.scope(), KFL: kfl}
}

// broke is the test's own word on what failed.
func broke(c *traffic.Call) bool {
	return c.State == traffic.StateUnanswered || c.State == traffic.StateTruncated || c.HTTP != nil && (c.GRPC == nil && c.Status >= 400 || c.GRPC != nil && c.GRPC.Status > 0) ||
		c.PostgreSQL != nil && c.PostgreSQL.SQLState != "" || c.Redis != nil && c.Redis.Error != "" || c.DNS != nil && c.Status != 0
}

// question is one row: it may ask three times.
type question struct {
	*testing.T
	client *control.Client
	asked  int
}

const mostAsked = 3

func ask[R, A any](q *question, m control.Method[R, A], r R) *A {
	q.Helper()
	if q.asked++; q.asked > mostAsked {
		q.Fatalf("more than %d calls", mostAsked)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	a, err := m.Ask(ctx, q.client, r, nil)
	if err != nil {
		q.Fatalf("%s: %v", m.Name, err)
	}
	return a
}

// rows are the calls of an answer in their full form.
func rows(q *question, calls []any) []traffic.FullCall {
	q.Helper()
	b, err := json.Marshal(calls)
	if err != nil {
		q.Fatal(err)
	}
	var list []traffic.FullCall
	if err := json.Unmarshal(b, &list); err != nil {
		q.Fatal(err)
	}
	return list
}

func (q *question) want(what string, got, want any) {
	q.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		q.Errorf("%s: %v, want %v", what, got, want)
	}
}

// near compares numbers that are rounded differently.
func (q *question) near(what string, got, want, by float64) {
	q.Helper()
	if math.Abs(got-want) > by {
		q.Errorf("%s: %v, want %v", what, got, want)
	}
}

// nearest is the percentile of values by counting: the least of which so many percent are no larger.
func nearest(values []int64, percent int) int64 {
	best := int64(math.MaxInt64)
	for _, v := range values {
		n := 0
		for _, x := range values {
			if x <= v {
				n++
			}
		}
		if n*100 >= percent*len(values) && v < best {
			best = v
		}
	}
	return best
}

func latencies(calls []*traffic.Call) []int64 {
	var list []int64
	for _, c := range calls {
		if c.State == traffic.StateComplete {
			list = append(list, c.Latency())
		}
	}
	return list
}

func toMS(ns int64) float64 { return float64(ns) / 1e6 }

// evidence is what the questions are asked of.
type evidence struct {
	clean, story, drift, own *captured
	sent                     ownTraffic
}

// ownTraffic is what the test itself sent, by its own log.
type ownTraffic struct {
	from, to    time.Time // of all of it
	logins      int
	badTokens   int
	wrong       string // body that was no JSON
	wrongAnswer string
	card, email string
	crashed     string
}

// TestQuestions asks what docs promise that can be asked of traffic: each row of the list in at most three calls, with
// figures that are counted from the rows again, in another way, or known from the client's own log.
func TestQuestions(t *testing.T) {
	w := shop(t)
	e := &evidence{}
	e.clean = w.captured(w.run())
	w.write("faults.env", "FAULTS="+story+"\n")
	e.story = w.captured(w.run())
	w.write("faults.env", "FAULTS="+drift+"\n")
	e.drift = w.captured(w.run())
	dir, err := filepath.EvalSymlinks(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := control.SocketPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	client := control.NewClient(socket)
	e.own = w.drive(t, client, &e.sent)
	for _, row := range questions {
		t.Run(row.name, func(t *testing.T) {
			q := &question{T: t, client: client}
			row.answer(q, e)
			if q.asked == 0 {
				t.Error("nothing was asked")
			}
		})
	}
	t.Run("40 a new endpoint after a change", func(t *testing.T) { w.newEndpoint(&question{T: t, client: client}) })
}

// drive sends traffic of the test's own: good and bad requests, personal data, and a crash.
func (w *workspace) drive(t *testing.T, client *control.Client, sent *ownTraffic) *captured {
	w.write("faults.env", "FAULTS=\n")
	if it := w.run("--until", "deploy"); it.ExitCode != 0 {
		t.Fatalf("deploy the clean shop again: %+v", it.Failure)
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	opened, err := client.WindowOpen(ctx, control.WindowRequest{})
	if err != nil {
		t.Fatal(err)
	}
	status := w.status()
	ip := ""
	for _, s := range status.Services {
		if s.Name == "frontend" {
			ip = s.IP
		}
	}
	sent.from = time.Now()
	post := func(path, token, contentType, body string) (int, string) {
		r, err := http.NewRequestWithContext(ctx, "POST", "http://"+ip+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", contentType)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return do(t, r)
	}
	token := ""
	sent.logins = 7
	for range sent.logins {
		code, body := post("/api/v1/login", "", "application/json", `{"user":"ada","password":"lovelace"}`)
		var answer struct {
			Token string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 {
			t.Fatalf("log in: %d %s", code, body)
		}
		token = answer.Token
	}
	sent.card, sent.email = "4111111111111111", "grace.hopper@navy.example"
	if code, body := post("/api/v1/cart", token, "application/json", fmt.Sprintf(`{"cart":"own-1","items":[1],"card":%q,"contact":{"email":%q}}`, sent.card, sent.email)); code != 200 {
		t.Fatalf("fill a cart: %d %s", code, body)
	}
	sent.badTokens = 5
	for range sent.badTokens {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+ip+"/api/v1/catalogue", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer forged.token.0123456789")
		if code, _ := do(t, r); code != 401 {
			t.Fatalf("a forged token is answered with %d", code)
		}
	}
	sent.wrong = "cart=own-2&items=1"
	code, body := post("/api/v1/cart", token, "application/x-www-form-urlencoded", sent.wrong)
	if code != 400 {
		t.Fatalf("a form instead of JSON: %d %s", code, body)
	}
	sent.wrongAnswer = body
	sent.crashed = "login"
	for _, s := range status.Services {
		if s.Name == sent.crashed {
			if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "the crash is noticed", func() bool {
		return slices.ContainsFunc(w.status().Services, func(s control.ServiceStatus) bool { return s.Name == sent.crashed && s.State == "crashed" })
	})
	sent.to = time.Now()
	it, err := client.WindowClose(ctx, control.IterationRequest{Iteration: opened.Window, Allow: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.captured(it)
}

func do(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// newEndpoint adds an endpoint, runs the loop with a request to it, and finds the call.
func (w *workspace) newEndpoint(q *question) {
	testenv.NeedsProgram(q.T, "curl")
	w.edit(catalogueFile, `mux.Handle("GET /prices"`, `mux.HandleFunc("GET /count", func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("24")) })
	mux.Handle("GET /prices"`)
	it := ask(q, control.Method[control.RunRequest, traffic.Iteration]{Name: "run"}, control.RunRequest{
		Command: []string{"curl", "-sf", "http://catalogue:8080/count"}, Checks: []string{"catalogue looks names up once"}, AllowInconclusive: true,
	})
	q.want("exit code", it.ExitCode, 0)
	a := ask(q, control.ListAPICalls, query.CallsRequest{Selection: query.Selection{Scope: query.Scope{Snapshot: it.Snapshot}, KFL: `path == "/count"`}, Format: "full"})
	calls := rows(q, a.Calls)
	if len(calls) != 1 || calls[0].Status != 200 || calls[0].RespBody != "24" || calls[0].DstBuild != it.Builds["catalogue"] {
		q.Errorf("the call of the new endpoint: %+v", calls)
	}
}
