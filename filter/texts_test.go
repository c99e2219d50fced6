package filter_test

import (
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// speaker is a call that says something different in every place.
func speaker() *traffic.Call {
	op := traffic.GraphQLOperation{Name: "in-name", Query: "in-document", Variables: `{"v":"in-variables"}`, Hash: "in-hash"}
	return &traffic.Call{Protocol: traffic.ProtoHTTP, State: traffic.StateComplete, Path: "/in-path", Method: "in-method",
		HTTP: &traffic.HTTP{Host: "in-host", Query: "q=in-query&d=in%20coded", RequestHeaders: []traffic.Header{{Name: "in-header-name", Value: "in-request-header"}},
			ResponseHeaders: []traffic.Header{{Name: "X", Value: "in-response-header"}}, RequestBody: []byte("in-request-body"), ResponseBody: []byte("in-response-body")},
		GRPC:       &traffic.GRPC{Message: "in-grpc-message", RequestJSON: "in-grpc-request", ResponseJSON: "in-grpc-response"},
		DNS:        &traffic.DNS{Questions: []traffic.DNSRecord{{Name: "in-question"}}, Answers: []traffic.DNSRecord{{Data: "in-answer"}}},
		PostgreSQL: &traffic.PostgreSQL{Query: "in-sql", Arguments: []string{"in-argument"}, Message: "in-sql-error"},
		Redis:      &traffic.Redis{Key: "in-key", Args: []string{"in-redis-argument"}, Reply: "in-reply", Error: "in-redis-error"},
		WebSocket:  &traffic.WebSocket{Payload: []byte("in-websocket")},
		GraphQL:    &traffic.GraphQL{GraphQLOperation: op, Batch: []traffic.GraphQLOperation{{Query: "in-batch"}}, Errors: []traffic.GraphQLError{{Message: "in-graphql-error"}}},
	}
}

// mentions looks everywhere, by the shortcut and by the planner's own way.
func TestMentions(t *testing.T) {
	t.Parallel()
	row := filter.Row{Call: speaker()}
	for text, want := range map[string]bool{
		"in-path": true, "in-query": true, "in coded": true, "in-request-header": true, "in-response-header": true, "in-request-body": true, "in-response-body": true,
		"in-grpc-message": true, "in-grpc-request": true, "in-grpc-response": true, "in-question": true, "in-answer": true, "in-sql": true, "in-argument": true,
		"in-sql-error": true, "in-key": true, "in-redis-argument": true, "in-reply": true, "in-redis-error": true, "in-websocket": true, "in-name": true,
		"in-document": true, "in-variables": true, "in-hash": true, "in-batch": true, "in-graphql-error": true,
		"in-header-name": false, "in-method": false, "IN-PATH": false, "nowhere": false,
	} {
		for _, src := range []string{`mentions("` + text + `")`, `mentions("` + text + `" + "")`, `["` + text + `"].exists(x, mentions(x))`} {
			f, err := filter.Compile(src)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := f.Match(&row); got != want || err != nil {
				t.Errorf("%s: want %v, got %v, %v", src, want, got, err)
			}
			if got, _ := f.Match(&filter.Row{Conn: &traffic.Connection{}}); got {
				t.Errorf("%s: a connection says nothing", src)
			}
			if f.Kind() != filter.Calls {
				t.Errorf("%s selects %v", src, f.Kind())
			}
		}
	}
}

// A call of which the capture lacks a part is found by what is there; an expectation does not take the lack for an answer.
func TestMentionsOfAPart(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*traffic.Call){
		"unanswered": func(c *traffic.Call) { c.State = traffic.StateUnanswered },
		"cut":        func(c *traffic.Call) { c.HTTP.ResponseBodyCut = true },
		"sql":        func(c *traffic.Call) { c.PostgreSQL.Unknown = true },
	} {
		c := speaker()
		edit(c)
		f, err := filter.Compile(`mentions("in-path") && has(texts)`)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := f.Match(&filter.Row{Call: c}); !ok || err != nil {
			t.Errorf("%s: want a match, got %v, %v", name, ok, err)
		}
		a := filter.NewActivation(time.Unix(0, 0))
		a.Reset(&filter.Row{Call: c}, filter.ModeExpect)
		if a.ResolveName("texts"); len(a.Unanswered()) != 1 {
			t.Errorf("%s: an expectation reads texts as known", name)
		}
	}
}

const order = `{"id": 7, "total": 12.50, "items": [{"sku": "A1", "n": 2}, {"sku": "B2"}], "odd name": {"x.y": true}, "none": null, "text": "a\"b"}`

var pathCases = []struct{ body, path, want string }{
	{order, `$.id`, "7"}, {order, `id`, "7"}, {order, `$.total`, "12.50"}, {order, `$.items[0].sku`, "A1"}, {order, `$.items[*].sku`, "A1|B2"},
	{order, `items[1].n`, ""}, {order, `$["odd name"]["x.y"]`, "true"}, {order, `$['odd name']`, `{"x.y":true}`}, {order, `$.none`, ""}, {order, `$.text`, `a"b`},
	{order, `$.items[1]`, `{"sku":"B2"}`}, {order, `$.items.*.sku`, "A1|B2"}, {order, `$.id.deeper`, ""}, {order, `$.items[9]`, ""}, {order, `$.items.sku`, ""},
	{"{\"a\":1}\n{\"b\":2}\n{\"a\":3}", `a`, "1|3"}, {`[1,2,3]`, `$[1]`, "2"}, {`{"a":1,"b":{"c":"x`, `a`, "1"}, {`{"a":1,"b":{"c":"x`, `b.c`, ""},
	{"not json", `a`, ""}, {"", `a`, ""}, {`"s"`, `$`, "s"}, {`{"[redacted":1}`, `$["[redacted"]`, "1"}, {strings.Repeat("[", 20000), `[0]`, ""},
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, c := range pathCases {
		row := filter.Row{Call: &traffic.Call{State: traffic.StateComplete, HTTP: &traffic.HTTP{RequestBody: []byte(c.body)}}}
		first, _, _ := strings.Cut(c.want, "|")
		for src, want := range map[string]string{`request.body.json(PATH)`: first, `request.body.json_all(PATH).join()`: c.want} {
			src = strings.ReplaceAll(src, "PATH", "r'''"+c.path+"'''")
			if list, ok := strings.CutSuffix(src, ".join()"); ok {
				src = list + ` == ["` + strings.ReplaceAll(strings.ReplaceAll(want, `"`, `\"`), "|", `","`) + `"]`
				if want == "" {
					continue
				}
			} else {
				src += ` == "` + strings.ReplaceAll(want, `"`, `\"`) + `"`
			}
			f, err := filter.Compile(src)
			if err != nil {
				t.Error(err)
				continue
			}
			if ok, err := f.Match(&row); !ok || err != nil {
				t.Errorf("%s of %.40s: %v, %v", src, c.body, ok, err)
			}
		}
	}
	row := filter.Row{Call: &traffic.Call{State: traffic.StateComplete, HTTP: &traffic.HTTP{RequestBody: []byte(order)}}}
	for src, want := range map[string]bool{
		`request.body.json_number("$.total") > 12`: true, `request.body.json_number("total") == 12.5`: true, `request.body.json_number("text") == 0.0`: true,
		`request.body.json_has("none")`: true, `request.body.json_has("nope")`: false, `size(request.body.json_all("items[*]")) == 2`: true,
		`"B2" in request.body.json_all("items[*].sku")`: true, `http and request.body.json("id") == "7"`: false,
	} {
		f, err := filter.Compile(src)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, err := f.Match(&row); got != want || err != nil {
			t.Errorf("%s: want %v, got %v, %v", src, want, got, err)
		}
	}
}

// FuzzJSON searches foreign bodies by foreign paths.
func FuzzJSON(f *testing.F) {
	for _, c := range pathCases {
		f.Add(c.body, c.path)
	}
	f.Fuzz(func(t *testing.T, body, path string) {
		if len(body) > 1<<16 || strings.Contains(path, "'''") || strings.HasSuffix(path, "'") || strings.ContainsRune(path, 0) {
			return
		}
		compiled, err := filter.Compile(`request.body.json_has(r'''` + path + `''') == (size(request.body.json_all(r'''` + path + `''')) > 0)`)
		if err != nil {
			return
		}
		row := filter.Row{Call: &traffic.Call{State: traffic.StateComplete, HTTP: &traffic.HTTP{RequestBody: []byte(body)}}}
		if ok, err := compiled.Match(&row); !ok || err != nil {
			t.Fatalf("%q in %q: json_has and json_all disagree: %v", path, body, err)
		}
	})
}
