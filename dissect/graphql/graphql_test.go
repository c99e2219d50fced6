package graphql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		text, chosen, operation, name string
		fields                        []string
		no                            bool
	}{
		{text: `{ cart { items } }`, operation: "query", fields: []string{"cart"}},
		{text: "\ufeff# a comment with {\nquery Q($id: ID! = \"}\", $f: F = {a: [1, -2.5e3]}) @live { mine: cart(id: $id) @include(if: true) { id }, other }",
			operation: "query", name: "Q", fields: []string{"cart", "other"}},
		{text: `mutation { a: add(s: """ } \""" } """) { id } b: add { id } drop }`, operation: "mutation", fields: []string{"add", "drop"}},
		{text: `subscription S { added }`, operation: "subscription", name: "S", fields: []string{"added"}},
		{text: `fragment F on Cart @x { id } query A { ...F a ... on Query { x } ... @skip(if: false) { y } b } query B { c }`, operation: "query", name: "A",
			fields: []string{"a", "b"}},
		{text: `query A { a } query B { c }`, chosen: "B", operation: "query", name: "B", fields: []string{"c"}},
		{text: `query Cut($a: Int) { one(x: [{`, operation: "query", name: "Cut", fields: []string{"one"}},
		{text: `query Wrong { one = two }`, operation: "query", name: "Wrong", fields: []string{"one"}},
		{text: `{app="shop"} |= "error"`, no: true}, // LogQL
		{text: `SELECT 1`, no: true},
		{text: `up{job="x"}`, no: true},
		{text: `querying`, no: true},
		{text: `query`, no: true},
		{text: ``, no: true},
	} {
		op, ok := describe(c.text, c.chosen)
		if ok == c.no || op.Operation != c.operation || op.Name != c.name || cmp.Diff(op.Fields, c.fields) != "" {
			t.Errorf("%.60q: %v %+v", c.text, ok, op)
		}
	}
}

// TestNotGraphQL is about calls that look like it.
func TestNotGraphQL(t *testing.T) {
	for _, c := range []struct{ method, path, query, content, body string }{
		{"GET", "/api/v1/query", "query=up%7Bjob%3D%22x%22%7D", "", ""},
		{"GET", "/loki/api/v1/query_range", `query={app="x"}`, "", ""},
		{"GET", "/search", "query=shoes", "", ""},
		{"GET", "/graphql", "x=1", "", ""},
		{"POST", "/items/_search", "", "application/json", `{"query":{"match_all":{}}}`},
		{"POST", "/sql", "", "application/json", `{"query":"SELECT 1"}`},
		{"POST", "/graphql", "", "text/plain", `hello`},
		{"POST", "/graphql", "", "application/json", `{"x":`},
		{"PUT", "/graphql", "", "application/json", `{"query":"{a}"}`},
	} {
		call := &traffic.Call{Method: c.method, Path: c.path, State: traffic.StateComplete, Status: 200, HTTP: &traffic.HTTP{Query: c.query, RequestBody: []byte(c.body),
			RequestHeaders: []traffic.Header{{Name: "Content-Type", Value: c.content}}}}
		if Read(call); call.GraphQL != nil {
			t.Errorf("%+v: %+v", c, call.GraphQL)
		}
	}
}

// TestCut reads bodies that were not kept whole.
func TestCut(t *testing.T) {
	request := `{"operationName":"Q","query":"query Q { a }","variables":{"long":"` + strings.Repeat("x", 100)
	call := &traffic.Call{Method: "POST", Path: "/api", State: traffic.StateComplete, Status: 200, HTTP: &traffic.HTTP{RequestBody: []byte(request), RequestBodyCut: true,
		RequestHeaders: []traffic.Header{{Name: "content-type", Value: "application/json; charset=utf-8"}},
		ResponseBody:   []byte(`{"errors":[{"message":"no","path":["a",0],"extensions":{"code":"X"}}],"data":{"a":"` + strings.Repeat("y", 100)), ResponseBodyCut: true}}
	Read(call)
	want := &traffic.GraphQL{GraphQLOperation: traffic.GraphQLOperation{Operation: "query", Name: "Q", Fields: []string{"a"}, Query: "query Q { a }"},
		Errors: []traffic.GraphQLError{{Message: "no", Path: "a.0", Code: "X"}}, ErrorsCut: true}
	if diff := cmp.Diff(want, call.GraphQL); diff != "" {
		t.Error(diff)
	}
}

// FuzzRead reads any bodies: they must neither panic nor cost much.
func FuzzRead(f *testing.F) {
	f.Add("POST", "", `[{"query":"{a}"},{"query":"mutation M($x:I){b(x:$x){c}}","variables":{"x":1}}]`, `[{"data":{}},{"errors":[{"message":"m","path":["b",1]}]}]`)
	f.Add("GET", `query=%7Ba%7D&variables={}&extensions={"persistedQuery":{"sha256Hash":"ab"}}`, "", `{"errors":{"message":"x"}}`)
	f.Add("POST", "", "query Q { a(s: \"\"\"\\\"\"\"\"\"\") ...F } fragment F on Q { b }", `{}`)
	f.Fuzz(func(t *testing.T, method, query, body, answer string) {
		for _, content := range []string{"application/json", "application/graphql"} {
			Read(&traffic.Call{Method: method, Path: "/graphql", Status: 200, State: traffic.StateComplete, HTTP: &traffic.HTTP{Query: query, RequestBody: []byte(body),
				RequestHeaders: []traffic.Header{{Name: "Content-Type", Value: content}}, ResponseBody: []byte(answer)}})
		}
		ReadMessage(&traffic.Call{WebSocket: &traffic.WebSocket{Payload: []byte(body)}})
	})
}
