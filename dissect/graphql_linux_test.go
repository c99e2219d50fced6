package dissect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	genqlient "github.com/Khan/genqlient/graphql"
	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/graphql-go/graphql"
	"github.com/graphql-go/graphql/gqlerrors"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// gqlCoded is an error with extensions, as graphql-go wants them.
type gqlCoded struct{ text, code string }

func (e gqlCoded) Error() string              { return e.text }
func (e gqlCoded) Extensions() map[string]any { return map[string]any{"code": e.code} }

var _ gqlerrors.ExtendedError = gqlCoded{}

// gqlSchema is a shop by graphql-go, which parses, validates and runs the operations.
func gqlSchema() (graphql.Schema, error) {
	cart := graphql.NewObject(graphql.ObjectConfig{Name: "Cart", Fields: graphql.Fields{"id": {Type: graphql.ID}, "items": {Type: graphql.NewList(graphql.String)}}})
	id := graphql.FieldConfigArgument{"id": {Type: graphql.ID}}
	get := func(p graphql.ResolveParams) (any, error) {
		if p.Args["id"] == "none" {
			return nil, gqlCoded{"cart not found", "NOT_FOUND"}
		}
		return map[string]any{"id": p.Args["id"], "items": []string{"tea", "milk"}}, nil
	}
	return graphql.NewSchema(graphql.SchemaConfig{
		Query: graphql.NewObject(graphql.ObjectConfig{Name: "Query", Fields: graphql.Fields{
			"cart": {Type: cart, Args: id, Resolve: get}, "version": {Type: graphql.Int, Resolve: func(graphql.ResolveParams) (any, error) { return 7, nil }}}}),
		Mutation: graphql.NewObject(graphql.ObjectConfig{Name: "Mutation", Fields: graphql.Fields{"add": {Type: cart, Args: id, Resolve: get}}}),
		Subscription: graphql.NewObject(graphql.ObjectConfig{Name: "Subscription", Fields: graphql.Fields{"added": {Type: graphql.String, Args: id,
			Resolve: func(p graphql.ResolveParams) (any, error) { return p.Source, nil },
			Subscribe: func(p graphql.ResolveParams) (any, error) {
				c := make(chan any, 2)
				c <- "tea"
				c <- "milk"
				close(c)
				return c, nil
			}}}}),
	})
}

// gqlAsked is an operation as it is sent.
type gqlAsked struct {
	Query      string         `json:"query,omitempty"`
	Name       string         `json:"operationName,omitempty"`
	Variables  map[string]any `json:"variables,omitempty"`
	Extensions map[string]any `json:"extensions,omitempty"`
}

// gqlServer serves a schema as graphql-over-http wants it, with batches and persisted queries.
type gqlServer struct {
	schema graphql.Schema
	stored map[string]string
}

func (s *gqlServer) run(ctx context.Context, a gqlAsked) any {
	if p, ok := a.Extensions["persistedQuery"].(map[string]any); ok {
		hash := fmt.Sprint(p["sha256Hash"])
		if a.Query == "" && s.stored[hash] == "" {
			return map[string]any{"errors": []any{map[string]any{"message": "PersistedQueryNotFound", "extensions": map[string]any{"code": "PERSISTED_QUERY_NOT_FOUND"}}}}
		}
		if a.Query != "" {
			s.stored[hash] = a.Query
		}
		a.Query = s.stored[hash]
	}
	return graphql.Do(graphql.Params{Schema: s.schema, RequestString: a.Query, OperationName: a.Name, VariableValues: a.Variables, Context: ctx})
}

func (s *gqlServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var a gqlAsked
	if r.Header.Get("Upgrade") != "" {
		s.subscriptions(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var err error
	switch {
	case r.Method == "GET":
		q := r.URL.Query()
		a.Query, a.Name = q.Get("query"), q.Get("operationName")
		if v := q.Get("variables"); v != "" {
			err = json.Unmarshal([]byte(v), &a.Variables)
		}
		if v := q.Get("extensions"); v != "" {
			err = errors.Join(err, json.Unmarshal([]byte(v), &a.Extensions))
		}
	case r.Header.Get("Content-Type") == "application/graphql":
		a.Query = string(body)
	case bytes.HasPrefix(body, []byte("[")):
		var all []gqlAsked
		if json.Unmarshal(body, &all) != nil {
			return
		}
		answers := []any{}
		for _, a := range all {
			answers = append(answers, s.run(r.Context(), a))
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answers)
		return
	default:
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/graphql-response+json")
	json.NewEncoder(w).Encode(s.run(r.Context(), a))
}

// subscriptions speaks graphql-transport-ws.
func (s *gqlServer) subscriptions(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"graphql-transport-ws"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	send := func(v any) {
		b, _ := json.Marshal(v)
		_ = c.Write(r.Context(), websocket.MessageText, b)
	}
	for {
		_, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		var m struct {
			ID, Type string
			Payload  gqlAsked
		}
		if json.Unmarshal(b, &m) != nil {
			return
		}
		switch m.Type {
		case "connection_init":
			send(map[string]any{"type": "connection_ack"})
		case "subscribe":
			for x := range graphql.Subscribe(graphql.Params{Schema: s.schema, RequestString: m.Payload.Query, OperationName: m.Payload.Name,
				VariableValues: m.Payload.Variables, Context: r.Context()}) {
				if x.Data == nil && x.HasErrors() {
					send(map[string]any{"id": m.ID, "type": "error", "payload": x.Errors})
					continue
				}
				send(map[string]any{"id": m.ID, "type": "next", "payload": x})
			}
			send(map[string]any{"id": m.ID, "type": "complete"})
		}
	}
}

// gqlDialer lets genqlient speak over coder/websocket.
type gqlDialer struct{ conn gqlConn }

func (d *gqlDialer) DialContext(ctx context.Context, url string, h http.Header) (genqlient.WSConn, error) {
	sub := h.Values("Sec-WebSocket-Protocol")
	h.Del("Sec-WebSocket-Protocol")
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: sub, HTTPHeader: h})
	d.conn = gqlConn{ctx, c}
	return d.conn, err
}

type gqlConn struct {
	ctx context.Context
	c   *websocket.Conn
}

func (g gqlConn) Close() error { return g.c.Close(websocket.StatusNormalClosure, "done") }
func (g gqlConn) WriteMessage(kind int, b []byte) error {
	if kind == 8 {
		return nil // Close does it
	}
	return g.c.Write(g.ctx, websocket.MessageType(kind), b)
}
func (g gqlConn) ReadMessage() (int, []byte, error) {
	kind, b, err := g.c.Read(g.ctx)
	return int(kind), b, err
}

// gqlSeen is what client and dissection both know of a call.
type gqlSeen struct {
	Version   string
	Method    string
	Operation string
	Name      string
	Fields    []string
	Query     string
	Variables string
	Hash      string
	Batch     int
	Errors    []string // as the client had them: message, path, code
	Message   string
	ID        string
}

// everyGraphQL asks in every way that graphql-over-http has. What genqlient does not send is sent with Go's client.
func everyGraphQL(file string) func() error {
	return func() error {
		schema, err := gqlSchema()
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		var both, two http.Protocols
		both.SetHTTP1(true)
		both.SetUnencryptedHTTP2(true)
		two.SetUnencryptedHTTP2(true)
		server := &http.Server{Handler: &gqlServer{schema, map[string]string{}}, Protocols: &both}
		go server.Serve(l)
		defer server.Close()
		g := gqlSession{url: "http://" + l.Addr().String() + "/api", one: &http.Client{Transport: &http.Transport{}}, two: &http.Client{Transport: &http.Transport{Protocols: &two}}}
		if err := errors.Join(g.calls(), g.raw(), g.subscribe(strings.Replace(g.url, "http", "ws", 1))); err != nil {
			return err
		}
		g.one.CloseIdleConnections()
		g.two.CloseIdleConnections()
		return writeLog(file, g.log)
	}
}

type gqlSession struct {
	url      string
	one, two *http.Client
	log      []gqlSeen
}

// calls are those that genqlient makes itself.
func (g *gqlSession) calls() error {
	const doc = "query GetCart($id: ID!) { mine: cart(id: $id) { ...C } version }\nfragment C on Cart { id items }"
	for _, c := range []struct {
		client            genqlient.Client
		version, method   string
		query, op, id, by string
	}{
		{genqlient.NewClient(g.url, g.one), "1.1", "POST", doc, "GetCart", "7", "query"},
		{genqlient.NewClient(g.url, g.one), "1.1", "POST", doc, "GetCart", "none", "query"},
		{genqlient.NewClientUsingGet(g.url, g.one), "1.1", "GET", doc, "GetCart", "8", "query"},
		{genqlient.NewClient(g.url, g.two), "2", "POST", "mutation Add($id: ID) { add(id: $id) { id } }", "Add", "none", "mutation"},
		{genqlient.NewClientUsingGet(g.url, g.two), "2", "GET", doc, "GetCart", "9", "query"},
	} {
		var data any
		err := c.client.MakeRequest(context.Background(), &genqlient.Request{Query: c.query, OpName: c.op, Variables: map[string]string{"id": c.id}},
			&genqlient.Response{Data: &data})
		seen := gqlSeen{Version: c.version, Method: c.method, Operation: c.by, Name: c.op, Query: c.query, Variables: fmt.Sprintf(`{"id":%q}`, c.id), Batch: 1}
		seen.Fields = []string{"cart", "version"}
		if c.by == "mutation" {
			seen.Fields = []string{"add"}
		}
		if c.id == "none" {
			if err == nil {
				return errors.New("no error came back")
			}
			path := map[string]string{"query": "mine", "mutation": "add"}[c.by]
			seen.Errors = []string{"cart not found", path, "NOT_FOUND"}
		} else if err != nil {
			return err
		}
		g.log = append(g.log, seen)
	}
	return nil
}

// raw are the forms that genqlient does not send: what comes back is noted by the server's own answer.
func (g *gqlSession) raw() error {
	const hash = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38"
	stored := `{"persistedQuery":{"version":1,"sha256Hash":"` + hash + `"}}`
	ask := func(method, content, query, body string, seen gqlSeen) error {
		r, err := http.NewRequest(method, g.url+query, strings.NewReader(body))
		if err != nil {
			return err
		}
		if content != "" {
			r.Header.Set("Content-Type", content)
		}
		a, err := g.one.Do(r)
		if err != nil {
			return err
		}
		defer a.Body.Close()
		b, err := io.ReadAll(a.Body)
		seen.Version, seen.Method = "1.1", method
		for _, e := range seen.Errors {
			if !bytes.Contains(b, []byte(e)) {
				err = errors.Join(err, fmt.Errorf("no %q in %s", e, b))
			}
		}
		g.log = append(g.log, seen)
		return err
	}
	return errors.Join(
		ask("POST", "application/graphql", "", "{ version }", gqlSeen{Operation: "query", Fields: []string{"version"}, Query: "{ version }", Batch: 1}),
		ask("POST", "application/json", "", `[{"query":"{version}"},{"query":"mutation M{add(id:\"none\"){id}}","operationName":"M"},{"query":"{cart(id:\"none\"){id}}"}]`,
			gqlSeen{Operation: "query", Fields: []string{"version"}, Query: "{version}", Batch: 3,
				Errors: []string{"cart not found", "add", "NOT_FOUND", "cart not found", "cart", "NOT_FOUND"}}),
		ask("GET", "", "?extensions="+stored, "", gqlSeen{Hash: hash, Batch: 1, Errors: []string{"PersistedQueryNotFound", "", "PERSISTED_QUERY_NOT_FOUND"}}),
		ask("POST", "application/json", "", `{"query":"{version}","extensions":`+stored+`}`,
			gqlSeen{Operation: "query", Fields: []string{"version"}, Query: "{version}", Hash: hash, Batch: 1}),
		ask("GET", "", "?extensions="+stored, "", gqlSeen{Hash: hash, Batch: 1}),
		ask("POST", "application/json; charset=utf-8", "", `{"query":"query Bad { nope }"}`,
			gqlSeen{Operation: "query", Name: "Bad", Fields: []string{"nope"}, Query: "query Bad { nope }", Batch: 1,
				Errors: []string{`Cannot query field \"nope\" on type \"Query\".`, "", ""}}),
		ask("POST", "application/json", "", `{"query":"query Broken { version "}`,
			gqlSeen{Operation: "query", Name: "Broken", Fields: []string{"version"}, Query: "query Broken { version ", Batch: 1,
				Errors: []string{"Syntax Error GraphQL request (1:24)", "", ""}}),
	)
}

// subscribe lets genqlient hold a subscription until the server completes it, and one that fails.
func (g *gqlSession) subscribe(url string) error {
	var d gqlDialer
	c := genqlient.NewClientUsingWebSocket(url, &d, genqlient.WithConnectionParams(map[string]any{"tenant": "a"}))
	failed, err := c.Start(context.Background())
	if err != nil {
		return err
	}
	go func() {
		for range failed {
		}
	}()
	for _, doc := range []string{"subscription Added { added }", "subscription Wrong { nope }"} {
		got := make(chan int)
		_, err = c.Subscribe(&genqlient.Request{Query: doc, OpName: strings.Fields(doc)[1]}, got, func(ch any, raw json.RawMessage) error {
			ch.(chan int) <- len(raw)
			return nil
		})
		if err != nil {
			return err
		}
		for range got { // until the server completes it
		}
	}
	return d.conn.c.Close(websocket.StatusNormalClosure, "done") // genqlient's own Close ends what is complete once more
}

// TestGraphQL compares what was dissected with what graphql-go, genqlient and Go's client know.
func TestGraphQL(t *testing.T) {
	testenv.NeedsRoot(t)
	file := filepath.Join(t.TempDir(), "graphql.pcapng")
	child(t, "graphql", file)
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		if c.Undecoded != 0 {
			t.Errorf("not decoded: %+v", c)
		}
	}
	var got []gqlSeen
	var messages []string
	for _, c := range calls {
		if c.WebSocket != nil && c.GraphQL != nil {
			messages = append(messages, strings.TrimSpace(fmt.Sprint(c.GraphQL.Message, " ", c.GraphQL.Operation, " ", c.GraphQL.Name, " ", len(c.GraphQL.Errors))))
			if id := c.GraphQL.MessageID; (id == "") != strings.HasPrefix(c.GraphQL.Message, "connection_") {
				t.Errorf("%s has the id %q", c.GraphQL.Message, id)
			}
		}
		if c.HTTP == nil || c.HTTP.Upgrade != "" {
			continue
		}
		if c.GraphQL == nil {
			t.Errorf("no GraphQL: %s %s?%s %s", c.Method, c.Path, c.HTTP.Query, c.HTTP.RequestBody)
			continue
		}
		x := c.GraphQL
		seen := gqlSeen{Version: c.HTTP.Version, Method: c.Method, Operation: x.Operation, Name: x.Name, Fields: x.Fields, Query: x.Query, Variables: x.Variables,
			Hash: x.Hash, Batch: 1 + len(x.Batch), Message: x.Message, ID: x.MessageID}
		for _, e := range x.Errors {
			seen.Errors = append(seen.Errors, strings.ReplaceAll(e.Message, `"`, `\"`), e.Path, e.Code)
		}
		got = append(got, seen)
		for _, kfl := range []string{"gql", "http", `gql_success == (size(gql_errors) == 0)`, map[string]string{"2": "gqlv2 && !gqlv1", "1.1": "gqlv1 && !gqlv2"}[c.HTTP.Version]} {
			f, err := filter.Compile(kfl)
			if err != nil {
				t.Fatal(err)
			}
			if ok, err := f.Match(&filter.Row{Call: c}); !ok || err != nil {
				t.Errorf("%q does not select %+v: %v", kfl, seen, err)
			}
		}
	}
	want := readLog[gqlSeen](t, file)
	for i := range got { // a syntax error shows its place on further lines
		if i < len(want) && len(got[i].Errors) > 0 && strings.HasPrefix(got[i].Errors[0], want[i].Errors[0]) {
			got[i].Errors[0] = want[i].Errors[0]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls (-client +dissected):\n%s", diff)
	}
	wantMessages := []string{"connection_init   0", "connection_ack   0", "subscribe subscription Added 0", "next   0", "next   0", "complete   0",
		"subscribe subscription Wrong 0", "error   1", "complete   0"}
	if diff := cmp.Diff(wantMessages, messages); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	batch := calls[slicesIndexBatch(calls)].GraphQL.Batch
	if diff := cmp.Diff([]traffic.GraphQLOperation{{Operation: "mutation", Name: "M", Fields: []string{"add"}, Query: `mutation M{add(id:"none"){id}}`},
		{Operation: "query", Fields: []string{"cart"}, Query: `{cart(id:"none"){id}}`}}, batch); diff != "" {
		t.Errorf("batch (-want +got):\n%s", diff)
	}
	packets, ifaces := readPackets(file, 5000)
	for at := 0; at < len(packets); at += 3 {
		if split(t, packets, ifaces, at); t.Failed() {
			return
		}
	}
}

func slicesIndexBatch(calls []*traffic.Call) int {
	for i, c := range calls {
		if c.GraphQL != nil && len(c.GraphQL.Batch) > 0 {
			return i
		}
	}
	return 0
}
