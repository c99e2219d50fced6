package daemon

import (
	"encoding/json"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/query"
)

// parameters has a member of each kind that a request may have.
type parameters struct {
	query.Selection
	Name    string            `json:"name,omitempty"`
	Flag    bool              `json:"flag,omitempty"`
	Maybe   *bool             `json:"maybe,omitempty"`
	Small   uint8             `json:"small,omitempty"`
	Share   float64           `json:"share,omitempty"`
	Names   []string          `json:"names,omitempty"`
	Numbers []int             `json:"numbers,omitempty"`
	Labels  map[string]string `json:"labels,omitempty"`
	Bytes   []byte            `json:"bytes,omitempty"`
	Side    query.Scope       `json:"side,omitzero"`
	Other   *query.Scope      `json:"other,omitempty"`
	Any     any               `json:"any,omitempty"`
	Hidden  string            `json:"-"`
}

func TestParameters(t *testing.T) {
	yes := true
	for _, tt := range []struct {
		query string
		want  parameters
		says  string // of the error
	}{
		{"", parameters{}, ""},
		{"kfl=http+%26%26+status_code+>%3D+500&db=a/b&start=1700000000000", parameters{Selection: query.Selection{
			Scope: query.Scope{DB: "a/b", Start: 1700000000000}, KFL: "http && status_code >= 500"}}, ""},
		{"name=&flag&maybe=true&small=255&share=0.5", parameters{Flag: true, Maybe: &yes, Small: 255, Share: 0.5}, ""},
		{"names=a,b&names=c&numbers=1,2", parameters{Names: []string{"a", "b", "c"}, Numbers: []int{1, 2}}, ""},
		{"names=,a,,&numbers=", parameters{Names: []string{"a"}, Numbers: []int{}}, ""},
		{"labels=app%3Dcart,tier=backend&labels=x=y=z", parameters{Labels: map[string]string{"app": "cart", "tier": "backend", "x": "y=z"}}, ""},
		{"side.db=x&side.start=5&other.end=7", parameters{Side: query.Scope{DB: "x", Start: 5}, Other: &query.Scope{End: 7}}, ""},
		{"bytes=aGk=", parameters{Bytes: []byte("hi")}, ""},
		{`any={"a":[1]}`, parameters{Any: map[string]any{"a": []any{1.0}}}, ""},

		{"limt=1", parameters{}, `there is no parameter "limt" here`},
		{"Hidden=1", parameters{}, `there is no parameter "Hidden"`},
		{"Selection=1", parameters{}, `there is no parameter "Selection"`},
		{"kfl=http && status_code", parameters{}, `there is no parameter " status_code" here`},
		{"name=a&name=b", parameters{}, "it is given 2 times"},
		{"start=soon", parameters{}, `parameter start: "soon" is no whole number`},
		{"start=1.5", parameters{}, "no whole number"},
		{"start=99999999999999999999", parameters{}, "too large or too small"},
		{"small=256", parameters{}, "too large or too small"},
		{"small=-1", parameters{}, "no whole number"},
		{"share=NaN", parameters{}, "no number"},
		{"flag=perhaps", parameters{}, "neither true nor false"},
		{"labels=app", parameters{}, `"app" is no k=v`},
		{"numbers=1,x", parameters{}, "no whole number"},
		{"side.what=1", parameters{}, `there is no parameter "side.what"`},
		{"name.x=1", parameters{}, `there is no parameter "name.x"`},
		{"side.db.x=1", parameters{}, `there is no parameter "side.db.x"`},
		{"name=%ff", parameters{}, "no UTF-8"},
		{"any={", parameters{}, "no JSON"},
	} {
		t.Run(tt.query, func(t *testing.T) {
			values, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			var got parameters
			request, err := fromQuery(reflect.TypeFor[parameters](), values)
			if err == nil {
				err = decode(request, &got)
			}
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%v, want %q", err, tt.says)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func decode(request map[string]any, into any) error {
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func TestBodies(t *testing.T) {
	for body, says := range map[string]string{
		``:                                 "",
		`{"kfl":"http","side":{"db":"x"}}`: "",
		`{"start": 1700000000000}`:         "",
		`[]`:                               "no JSON object",
		`{} {}`:                            "no JSON object",
		`null`:                             "no JSON object",
		`{"kfl"`:                           "no JSON",
		`{"limt": 1}`:                      `no parameter "limt"`,
		`{"side": {"dbs": "x"}}`:           `no parameter "side.dbs"`,
		`{"start": "soon"}`:                "start is text, want a whole number",
		`{"kfl": 5}`:                       "kfl is a number, want text",
		`{"names": "a"}`:                   "names is text, want a list",
		`{"flag": 1}`:                      "flag is a number, want true or false",
		`{"side": []}`:                     "side is a list, want an object",
		`{"side": {"start": true}}`:        "side.start is true or false, want a whole number",
	} {
		_, err := fromBody(reflect.TypeFor[parameters](), []byte(body))
		if err == nil && len(body) > 0 {
			var p parameters
			if err = json.Unmarshal([]byte(body), &p); err != nil {
				err = unreadable(err)
			}
		}
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", body, err, says)
		}
	}
}

// FuzzParameters: whatever is accepted is a request, and says what the URL said.
func FuzzParameters(f *testing.F) {
	for _, seed := range []string{"kfl=a&limit=1", "labels=a=b,c=d", "side.db=x&names=a,b", "flag&maybe=1", "any={}", "%ff=1", "name=%ff", "a.b.c.d=1", "numbers=1,2,,3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		request, err := fromQuery(reflect.TypeFor[parameters](), values)
		if err != nil {
			return
		}
		var p parameters
		if err := decode(request, &p); err != nil && !values.Has("bytes") { // base64 is for the decoder to say
			t.Fatalf("%q is accepted as %v and no request: %v", raw, request, err)
		}
		if v, ok := values["kfl"]; ok && p.KFL != v[0] && !values.Has("bytes") {
			t.Fatalf("%q: the filter is %q", raw, p.KFL)
		}
	})
}
