package exercise

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// recorder is a service that remembers what it was asked.
type recorder struct {
	mu       sync.Mutex
	requests []string
	headers  []http.Header
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.requests = append(r.requests, fmt.Sprintf("%s %s %s", req.Method, req.URL, body))
	r.headers = append(r.headers, req.Header)
	r.mu.Unlock()
	switch {
	case strings.HasPrefix(req.URL.Path, "/login"):
		fmt.Fprint(w, `{"access_token":"t-1","n":7}`)
	case strings.HasPrefix(req.URL.Path, "/teapot"):
		w.WriteHeader(http.StatusTeapot)
	case strings.HasPrefix(req.URL.Path, "/hang-up"):
		panic(http.ErrAbortHandler)
	}
}

func serve(t *testing.T) (*recorder, string) {
	t.Helper()
	r := &recorder{}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, s.URL
}

func TestStepsRunInOrderAndPassValuesOn(t *testing.T) {
	r, url := serve(t)
	var out bytes.Buffer
	result, err := Run(t.Context(), Spec{Name: "x", Iteration: "i9", Dir: t.TempDir(), Exercise: config.Exercise{Steps: []config.Step{
		{HTTP: &config.HTTPStep{Method: "POST", URL: url + "/login", Body: `{"user":"a"}`, Save: map[string]string{"token": "access_token"}}},
		{HTTP: &config.HTTPStep{URL: url + "/items/{{.N}}", Headers: map[string]string{"Authorization": "Bearer {{.Saved.token}}"}, Repeat: 3}},
		{Run: "echo said in {{this is no template}}"},
	}}}, &out)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`POST /login {"user":"a"}`, "GET /items/0 ", "GET /items/1 ", "GET /items/2 "}
	if diff := cmp.Diff(want, r.requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	h := r.headers[1]
	if h.Get("Authorization") != "Bearer t-1" || h.Get(IterationHeader) != "i9" || h.Get("Baggage") != "devloop.iteration=i9" || len(h.Get("Traceparent")) != 55 {
		t.Errorf("headers: %v", h)
	}
	if r.headers[0].Get("Content-Type") != "application/json" {
		t.Errorf("a JSON body goes out as %q", r.headers[0].Get("Content-Type"))
	}
	if result.Steps[1].Sent != 3 || result.Steps[1].Status["200"] != 3 || !strings.Contains(result.Steps[2].Output, "said in") || !strings.Contains(out.String(), "said in") {
		t.Errorf("result: %+v, output %q", result, out.String())
	}
}

func TestReplayedRequestsAreTheExercises(t *testing.T) {
	r, url := serve(t)
	var answers []replay.Answer
	spec := Spec{Name: "x", Iteration: "i9", Exercise: config.Exercise{Steps: []config.Step{
		{HTTP: &config.HTTPStep{Method: "POST", URL: url + "/login", Save: map[string]string{"token": "access_token"}}},
		{Replay: &config.ReplayStep{Snapshot: "i1", Headers: map[string]string{"authorization": "Bearer {{.Saved.token}}"}}},
	}}, Replays: map[int]replay.Plan{1: {Concurrency: 1, Requests: []replay.Request{
		{ID: "a", Method: "GET", URL: url + "/items", Headers: []traffic.Header{{Name: "User-Agent", Value: "firefox"}, {Name: "Authorization", Value: "old"}}},
		{ID: "b", Method: "PUT", URL: url + "/teapot", Body: []byte("tea")},
	}}}, Answered: func(step int, a []replay.Answer) {
		if answers = a; step != 1 {
			t.Errorf("step %d was answered", step)
		}
	}}
	result, err := Run(t.Context(), spec, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"POST /login ", "GET /items ", "PUT /teapot tea"}, r.requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	h := r.headers[1]
	if h.Get("Authorization") != "Bearer t-1" || h.Get("User-Agent") != "firefox" || h.Get(IterationHeader) != "i9" || len(h.Get("Traceparent")) != 55 {
		t.Errorf("headers: %v", h)
	}
	if s := result.Steps[1]; s.Sent != 2 || s.Status["200"] != 1 || s.Status["418"] != 1 || len(answers) != 2 || answers[1].ID != "b" {
		t.Errorf("%+v, %+v", s, answers)
	}
	spec.Replays = map[int]replay.Plan{1: {Requests: []replay.Request{{Method: "GET", URL: "http://127.0.0.1:1/"}}}}
	spec.Answered = nil
	if _, err := Run(t.Context(), spec, io.Discard); err == nil || !strings.Contains(err.Error(), "none of 1 requests got a response") {
		t.Errorf("error %v", err)
	}
}

func TestWhatFailsAnExercise(t *testing.T) {
	_, url := serve(t)
	for _, c := range []struct {
		name string
		step config.Step
		want string // in the error; empty when the exercise goes on
	}{
		{"an unexpected status", config.Step{HTTP: &config.HTTPStep{URL: url + "/teapot", ExpectStatus: 200}}, "answered 418, expected 200"},
		{"any status when none is expected", config.Step{HTTP: &config.HTTPStep{URL: url + "/teapot"}}, ""},
		{"no response to any request", config.Step{HTTP: &config.HTTPStep{URL: url + "/hang-up", Repeat: 2}}, "none of 2 requests got a response"},
		{"nobody listens", config.Step{HTTP: &config.HTTPStep{URL: "http://127.0.0.1:1/"}}, "none of 1 requests got a response"},
		{"a value that is not there", config.Step{HTTP: &config.HTTPStep{URL: url + "/login", Save: map[string]string{"x": "absent"}}}, `has no key "absent"`},
		{"a value nobody saved", config.Step{HTTP: &config.HTTPStep{URL: url + "/{{.Saved.x}}"}}, "no entry for key"},
		{"a command that fails", config.Step{Run: "false"}, "exit status 1"},
		{"a command that is missing", config.Step{Run: "no-such-program-here"}, "not found"},
		{"an empty step", config.Step{}, "none of http, replay, run and wait"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			result, err := Run(t.Context(), Spec{Name: "x", Dir: t.TempDir(), Exercise: config.Exercise{Steps: []config.Step{c.step}}}, io.Discard)
			if c.want == "" && err == nil {
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || c.want == "" {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if result.ExitCode == 0 {
				t.Error("a failed exercise has exit code 0")
			}
		})
	}
}

func TestTimeoutEndsAnExercise(t *testing.T) {
	_, err := Run(t.Context(), Spec{Name: "slow", Dir: t.TempDir(), Exercise: config.Exercise{
		Timeout: config.Duration(time.Millisecond), Steps: []config.Step{{Wait: config.Duration(time.Hour)}},
	}}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "longer than its timeout of 1ms") {
		t.Errorf("error %v", err)
	}
}

func TestConcurrencyKeepsItsConnections(t *testing.T) {
	r, url := serve(t)
	result, err := Run(t.Context(), Spec{Name: "x", Exercise: config.Exercise{Steps: []config.Step{
		{HTTP: &config.HTTPStep{URL: url + "/a", Repeat: 50, Concurrency: 5}},
	}}}, io.Discard)
	if err != nil || result.Steps[0].Sent != 50 || len(r.requests) != 50 {
		t.Errorf("%d of 50 sent, %d seen, %v", result.Steps[0].Sent, len(r.requests), err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	tail := Tail{Max: 4}
	for _, s := range []string{"ab", "cdef", "g"} {
		if n, err := tail.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	if tail.String() != "defg" {
		t.Errorf("tail %q", tail.String())
	}
}

func TestOutcomeIsReadBack(t *testing.T) {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(Outcome{Error: "x"}); err != nil {
		t.Fatal(err)
	}
	if out, err := ReadOutcome(&b); err != nil || out.Error != "x" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := ReadOutcome(strings.NewReader("")); err == nil {
		t.Error("nothing is read as an outcome")
	}
}
