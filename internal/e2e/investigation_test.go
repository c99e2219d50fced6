//go:build linux

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// api is the daemon's API: REST, or the MCP tools behind the same questions.
type api struct {
	t          *testing.T
	url, token string
	tools      *mcp.ClientSession // asked instead of REST, where there is one
}

// listen has the workspace's daemon serve on TCP.
func (w *workspace) listen(t *testing.T) *api {
	t.Helper()
	a := &api{t: t}
	for _, x := range []struct {
		into *string
		verb string
	}{{&a.url, "listen"}, {&a.token, "token"}} {
		code, stdout, stderr := w.devloop("daemon", x.verb)
		if code != 0 {
			t.Fatalf("devloop daemon %s: exit %d\n%s", x.verb, code, stderr)
		}
		*x.into = strings.TrimSpace(stdout)
	}
	return a
}

// ask asks a route and decodes its answer.
func (a *api) ask(verb, path string, values url.Values, body, into any) {
	a.t.Helper()
	if a.tools != nil {
		a.askTool(verb, path, values, body, into)
		return
	}
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			a.t.Fatal(err)
		}
	}
	r, err := http.NewRequestWithContext(a.t.Context(), verb, a.url+path+"?"+values.Encode(), &b)
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s %s: %s %s %v", verb, path, resp.Status, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		a.t.Fatalf("%s %s: %v\n%s", verb, path, err, answer)
	}
}

// routeTools are the tools that ask what a route asks; what follows the path is the value of the argument in rest.
var routeTools = []struct{ verb, path, tool, rest string }{
	{"GET", "/mcp/data-boundaries", "get_data_boundaries", ""},
	{"POST", "/mcp/snapshots", "create_snapshot", ""},
	{"GET", "/mcp/snapshots/", "get_snapshot", "name"},
	{"POST", "/delayed_dissection.DelayedDissection/Start", "start_snapshot_dissection", ""},
	{"GET", "/delayed_dissection.DelayedDissection/GetStatus", "get_snapshot_dissection_status", ""},
	{"GET", "/mcp/calls", "list_api_calls", ""},
	{"GET", "/mcp/stats", "get_api_stats", ""},
	{"GET", "/mcp/flows/summary", "get_l4_flow_summary", ""},
	{"GET", "/mcp/retries", "list_retries", ""},
	{"GET", "/mcp/connections", "list_connections", ""},
	{"GET", "/mcp/dependents/", "get_dependents", "service"},
	{"GET", "/mcp/errors", "find_errors", ""},
	{"GET", "/mcp/tree", "get_call_tree", ""},
}

// askTool asks the tool of a route.
func (a *api) askTool(verb, path string, values url.Values, body, into any) {
	a.t.Helper()
	arguments := map[string]any{}
	for name, value := range values {
		arguments[name] = value[0]
		if n, err := strconv.Atoi(value[0]); err == nil {
			arguments[name] = n
		}
	}
	if fields, ok := body.(map[string]any); ok {
		maps.Copy(arguments, fields)
	}
	for older, name := range map[string]string{"snapshot_name": "snapshot_id", "dissection_name": "name"} { // Connect's names
		if value, ok := arguments[older]; ok {
			delete(arguments, older)
			arguments[name] = value
		}
	}
	for _, r := range routeTools {
		rest, ok := strings.CutPrefix(path, r.path)
		if verb != r.verb || !ok || (rest == "") != (r.rest == "") {
			continue
		}
		if r.rest != "" {
			arguments[r.rest] = rest
		}
		call(a.t, a.t.Context(), a.tools, r.tool, arguments, into)
		return
	}
	a.t.Fatalf("no tool asks what %s %s does", verb, path)
}

// calls are all pages of calls that a filter selects, in full.
func (a *api) calls(db, kfl string) []traffic.FullCall {
	a.t.Helper()
	var all []traffic.FullCall
	values := url.Values{"db": {db}, "kfl": {kfl}, "limit": {"1000"}, "format": {"full"}}
	for {
		var page struct {
			Calls     []traffic.FullCall
			Total     int
			Truncated bool
			Cursor    string
		}
		a.ask("GET", "/mcp/calls", values, nil, &page)
		all = append(all, page.Calls...)
		if !page.Truncated {
			if len(all) != page.Total {
				a.t.Errorf("%s: %d calls, and a total of %d", kfl, len(all), page.Total)
			}
			return all
		}
		values.Set("cursor", page.Cursor)
	}
}

// ids are in one order, to be compared.
func ids[T any](list []T, id func(T) string) string {
	names := make([]string, len(list))
	for i, x := range list {
		names[i] = id(x)
	}
	slices.Sort(names)
	return strings.Join(names, "\n")
}

// TestInvestigation walks from "what can you tell me about my frontend?" to the cause of the checkout's 503 answers:
// the gateway that takes longer than payment waits. All figures are counted again from the rows as their file has them, and
// where the client knows better, compared with what it saw. Once by REST, once with the tools of an MCP client.
func TestInvestigation(t *testing.T) {
	w := shop(t)
	w.write("faults.env", "FAULTS="+story+"\n")
	it := w.run()
	if it.Exercise == nil || it.Snapshot == "" {
		t.Fatalf("no traffic: %+v", it.Failure)
	}
	failed := it.Exercise.Steps[3].Status["503"] + it.Exercise.Steps[4].Status["503"]
	if failed == 0 {
		t.Fatal("the fault made no checkout fail")
	}
	t.Run("rest", func(t *testing.T) { w.listen(t).investigate(t, w, it, failed, "frontend-analysis") })
	t.Run("mcp", func(t *testing.T) {
		client := mcp.NewClient(&mcp.Implementation{Name: "scripted", Version: "1"}, nil)
		session, err := client.Connect(t.Context(), &mcp.CommandTransport{Command: w.command(t.Context(), "mcp", "--toolsets", "all")}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		(&api{t: t, tools: session}).investigate(t, w, it, failed, "frontend-analysis-mcp")
	})
}

// investigate makes a snapshot of that name and asks it everything.
func (a *api) investigate(t *testing.T, w *workspace, it *traffic.Iteration, failed int, name string) {
	q := &question{T: t}

	// What is recorded, and a snapshot of it.
	var bounds query.Boundaries
	a.ask("GET", "/mcp/data-boundaries", nil, nil, &bounds)
	if from := it.Started / 1e6; len(bounds.Nodes) == 0 || bounds.Cluster.Newest < from || bounds.Cluster.Oldest > it.Ended/1e6 {
		t.Fatalf("boundaries %+v of an iteration that began at %d", bounds, from)
	}
	var created query.SnapshotCreated
	a.ask("POST", "/mcp/snapshots", nil, map[string]any{"name": name, "duration": "1h"}, &created)
	if !created.Success || created.Name != name {
		t.Fatalf("%+v", created)
	}
	var snapshot query.SnapshotInfo
	eventually(t, "the snapshot is there", func() bool {
		a.ask("GET", "/mcp/snapshots/"+name, nil, nil, &snapshot)
		return snapshot.Status != "in_progress"
	})
	if snapshot.Status != "completed" || snapshot.Size == 0 || snapshot.Packets == 0 {
		t.Fatalf("%+v", snapshot)
	}

	// It is dissected.
	var job query.DissectionJob
	a.ask("POST", "/delayed_dissection.DelayedDissection/Start", nil, map[string]any{"snapshot_name": name, "dissection_name": "analysis-1"}, &job)
	status := url.Values{"snapshot_name": {name}, "dissection_name": {"analysis-1"}}
	eventually(t, "the dissection is there", func() bool {
		a.ask("GET", "/delayed_dissection.DelayedDissection/GetStatus", status, nil, &job)
		return !job.Active
	})
	c := w.dissected(name, "analysis-1")
	q.want("status", job.Status, "completed")
	q.want("calls dissected", job.Stats.Entries, len(c.calls))
	db := name + "/analysis-1"

	// The service: what it asks, and what it answers.
	full := func(x traffic.FullCall) string { return x.ID }
	row := func(x *traffic.Call) string { return x.ID }
	q.want("calls from it", ids(a.calls(db, `src.pod contains "frontend"`), full), ids(c.between("frontend", "", "", ""), row))
	served := a.calls(db, `dst.svc=="frontend"`)
	mine := c.between("", "frontend", "", "")
	q.want("calls to it", ids(served, full), ids(mine, row))
	var stats query.StatsAnswer
	a.ask("GET", "/mcp/stats", url.Values{"db": {db}, "kfl": {`dst.svc=="frontend"`}}, nil, &stats)
	took, bad := latencies(mine), 0
	for _, x := range mine {
		if broke(x) {
			bad++
		}
	}
	q.want("calls", stats.Totals.Calls, len(mine))
	q.want("errors", stats.Totals.Errors, bad)
	q.near("error rate", stats.Totals.ErrorRate, float64(bad)/float64(len(mine)), 1e-6)
	q.near("P50", stats.Totals.P50, toMS(nearest(took, 50)), 0.001)
	q.near("P99", stats.Totals.P99, toMS(nearest(took, 99)), 0.001)
	a.figures(q, db, c)

	// The failed checkouts.
	bads := a.calls(db, `request.path=="/api/v1/checkout" and response.status==503`)
	q.want("failed checkouts", ids(bads, full), ids(c.all(func(x *traffic.Call) bool {
		return x.HTTP != nil && x.Path == "/api/v1/checkout" && x.Status == http.StatusServiceUnavailable
	}), row))
	q.want("failed checkouts by the client's log", len(bads), failed)
	a.cause(q, db, c, failed)
}

// dissected are the rows of a snapshot's dissection, read by the test itself.
func (w *workspace) dissected(snapshot, name string) *captured {
	w.t.Helper()
	st, err := store.Open(filepath.Join(w.dir, ".devloop"), store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	sn, err := st.Snapshot(snapshot)
	if err != nil {
		w.t.Fatal(err)
	}
	defer sn.Close()
	d, err := sn.Dissection(name)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &captured{Iteration: &traffic.Iteration{Snapshot: snapshot}}
	for x, err := range store.ReadCalls(d.CallsPath()) {
		if err != nil {
			w.t.Fatal(err)
		}
		c.calls = append(c.calls, x)
	}
	for x, err := range store.ReadConnections(d.ConnectionsPath()) {
		if err != nil {
			w.t.Fatal(err)
		}
		c.conns = append(c.conns, x)
	}
	return c
}

// figures are what stands beside the errors: handshakes, storms, churn, what is waited for, and calls without an id.
func (a *api) figures(q *question, db string, c *captured) {
	q.Helper()
	var summary query.FlowSummary
	a.ask("GET", "/mcp/flows/summary", url.Values{"db": {db}}, nil, &summary)
	var handshakes []int64
	for _, x := range c.conns {
		if x.HandshakeClientNS > 0 {
			handshakes = append(handshakes, x.HandshakeClientNS)
		}
	}
	for _, percent := range []int{50, 99} {
		q.near(fmt.Sprintf("handshakes' P%d, microseconds", percent), float64(summary.Handshake[fmt.Sprintf("p%d", percent)]), float64(nearest(handshakes, percent))/1e3, 1)
	}

	var retries query.RetriesAnswer
	a.ask("GET", "/mcp/retries", url.Values{"db": {db}, "kfl": {"http"}, "storm_attempts": {"3"}, "storm_ms": {"100"}}, nil, &retries)
	attempts := map[string][]int64{}
	for _, x := range c.between("cart", "catalogue", "http", "/prices") {
		if id := header(x, "X-Request-Id"); id != "" {
			attempts[id] = append(attempts[id], x.Start)
		}
	}
	storms := 0
	for _, starts := range attempts {
		if len(starts) >= 3 && slices.Max(starts)-slices.Min(starts) <= 100e6 {
			storms++
		}
	}
	if len(retries.Edges) == 0 || retries.Edges[0].Src != "cart" || storms == 0 {
		q.Fatalf("%d storms; edges %+v", storms, retries.Edges)
	}
	q.want("storms", retries.Edges[0].Storms, storms)

	var churn query.ConnectionsAnswer
	a.ask("GET", "/mcp/connections", url.Values{"db": {db}, "kfl": {`dst.service.name == "catalogue-db"`}}, nil, &churn)
	opened := 0
	for _, x := range c.conns {
		if x.Dst.Service == "catalogue-db" && x.Opened {
			opened++
		}
	}
	q.want("connections opened to the database", churn.Opened, opened)

	var waits query.DependentsAnswer
	a.ask("GET", "/mcp/dependents/payment", url.Values{"db": {db}, "kfl": {"!background"}, "depth": {"1"}}, nil, &waits)
	i := slices.IndexFunc(waits.Dependents, func(d query.Dependent) bool { return d.Name == "checkout" })
	if i < 0 || waits.Dependents[i].Calls == 0 || waits.Dependents[i].Sync != waits.Dependents[i].Calls {
		q.Errorf("checkout waits for payment: %+v", waits.Dependents)
	}

	asked := c.all(func(x *traffic.Call) bool {
		return x.HTTP != nil && x.GRPC == nil && !x.Background && slices.Contains([]string{"frontend", "cart", "checkout"}, x.Src.Service)
	})
	without := 0
	for _, x := range asked {
		if header(x, "X-Request-Id") == "" {
			without++
		}
	}
	q.want("calls without a correlation id", len(a.calls(db,
		`http && !grpc && !background && src.service.name in ["frontend", "cart", "checkout"] && !("x-request-id" in request.headers)`)), without)
	if without == 0 {
		q.Error("the fault left every id where it was")
	}
}

// cause is what the errors come from: who gave up, after how long, and what was slow before.
func (a *api) cause(q *question, db string, c *captured, failed int) {
	q.Helper()
	var found query.ErrorsAnswer
	a.ask("GET", "/mcp/errors", url.Values{"db": {db}}, nil, &found)
	groups := slices.DeleteFunc(slices.Clone(found.Groups), func(g query.ErrorGroup) bool {
		return g.Endpoint != "frontend POST /api/v1/checkout"
	})
	if len(groups) == 0 {
		q.Fatalf("no cause of the failed checkouts: %+v", found.Groups)
	}
	count := 0
	for _, g := range groups { // those that the gateway answered after all are others; on a slow machine something else is late, too
		q.Logf("%d checkouts failed by %+v", g.Count, g.Chain)
		count += g.Count
	}
	g := slices.MaxFunc(groups, func(x, y query.ErrorGroup) int { return cmp.Compare(x.Count, y.Count) })
	q.want("failed checkouts and their causes", count, failed)
	last := g.Chain[len(g.Chain)-1]
	q.want("where it began", last.Src+" → "+last.Endpoint, "payment → gateway POST /v1/charges")
	var slow *traffic.Call
	var waited []int64
	for _, x := range c.between("payment", "gateway", "", "/v1/charges") {
		if x.End-x.Start > 500e6 {
			waited = append(waited, x.End-x.Start)
			if slow == nil || x.Start < slow.Start {
				slow = x
			}
		}
	}
	if slow == nil {
		q.Fatal("no charge was slow")
	}
	if g.GaveUp != "" { // the gateway may get to say that the client went away, and then it has answered
		q.want("who gave up", g.GaveUp, "payment")
		q.near("how long it had waited", g.AfterMS, toMS(nearest(waited, 50)), 100)
	}
	began := slices.IndexFunc(g.Timeline, func(m query.Moment) bool { return m.Call == slow.ID })
	first := slices.IndexFunc(g.Timeline, func(m query.Moment) bool { return strings.HasPrefix(m.What, "first failure: frontend") })
	if began < 0 || first < began {
		q.Errorf("the slow gateway comes before the first failure: %+v", g.Timeline)
	}
	var tree query.TreeAnswer
	a.ask("GET", "/mcp/tree", url.Values{"db": {db}, "kfl": {`dst.svc=="frontend" and response.status==503`}}, nil, &tree)
	if len(tree.Spent) == 0 || tree.Spent[0].Service != "gateway" || tree.Spent[0].MS < 900 {
		q.Errorf("payment waits a second for the gateway, and the time went to %+v", tree.Spent)
	}
}
