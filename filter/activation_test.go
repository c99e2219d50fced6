package filter_test

import (
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// In expectations what a call does not have is unknown, and the activation says why.
func TestExpectMode(t *testing.T) {
	t.Parallel()
	open := checkout()
	open.State, open.Status, open.ResponseStart, open.Error = traffic.StateOpen, 0, 0, ""
	lost := checkout()
	lost.State, lost.Status, lost.ResponseStart, lost.Error = traffic.StateUnanswered, 0, 0, traffic.ErrorReset
	cut := checkout()
	cut.State = traffic.StateTruncated
	half := checkout()
	half.State, half.Method, half.Path, half.HTTP = traffic.StateHalf, "", "", &traffic.HTTP{Version: "1.1"}
	late := checkout() // joined while the response was under way, and the window ended
	late.State, late.Method, late.Path = traffic.StateOpen, "", ""
	beheaded := checkout()
	beheaded.HTTP.RequestHeadersCut, beheaded.HTTP.ResponseHeadersCut = true, true
	handshake := &traffic.Call{Protocol: traffic.ProtoTLS, State: traffic.StateHalf, TLS: &traffic.TLS{Version: 0x304}}
	name := &traffic.Call{Protocol: traffic.ProtoDNS, State: traffic.StateHalf, Method: "A", Path: "shop.test",
		DNS: &traffic.DNS{Questions: []traffic.DNSRecord{{Name: "shop.test", Type: "A"}}, RCode: "NOERROR"}}
	retried := checkout()
	retried.Retry = &traffic.Retry{Attempt: 1, Attempts: 2}
	cases := []struct {
		name       string
		src        string
		call       *traffic.Call
		want       string // true, false, unknown
		missing    []string
		unanswered []string
	}{
		{"answered", `status_code >= 500`, checkout(), "true", nil, nil},
		{"unanswered", `status_code >= 500`, lost, "unknown", nil, []string{"status_code"}},
		{"open", `error_type != ""`, open, "unknown", nil, []string{"error_type"}},
		{"lost has an error", `error_type == "connection_reset"`, lost, "true", nil, nil},
		{"truncated has a status", `status_code == 503`, cut, "true", nil, nil},
		{"truncated has no latency", `latency < duration("1s")`, cut, "unknown", nil, []string{"latency"}},
		{"request fields are known", `method == "POST" && path != ""`, lost, "true", nil, nil},
		{"false and unknown is false", `method == "GET" && status_code >= 500`, lost, "false", nil, nil},
		{"headers of no answer", `response.headers["cache-control"] == ""`, lost, "unknown", nil, []string{"response.headers"}},
		{"half has a status", `status_code == 503`, half, "true", nil, nil},
		{"half has no method", `method == ""`, half, "unknown", nil, []string{"method"}},
		{"half has no headers", `request.headers["a"] == "" && !("b" in query_string)`, half, "unknown", nil, []string{"request.headers", "query_string"}},
		{"half has no credential", `auth.missing`, half, "unknown", nil, []string{"auth.missing"}},
		{"half, asked", `has(path)`, half, "unknown", nil, []string{"path"}},
		{"half has not waited since 1970", `ttfb < duration("1s")`, half, "unknown", nil, []string{"ttfb"}},
		{"half of another protocol", `tlsx_sni == ""`, half, "unknown", []string{"tlsx_sni"}, nil},
		{"late has no path", `path == ""`, late, "unknown", nil, []string{"path"}},
		{"cut headers", `request.headers["traceparent"] != ""`, beheaded, "unknown", nil, []string{"request.headers"}},
		{"cut headers of the answer", `response.headers["cache-control"] != "" || latency > duration("1h")`, beheaded, "unknown", nil, []string{"response.headers", "latency"}},
		{"the first lines are known", `method == "POST" && status_code == 503`, beheaded, "true", nil, nil},
		{"half a handshake", `tlsx_sni == "" || tlsx_alpn == ""`, handshake, "unknown", nil, []string{"tlsx_sni", "tlsx_alpn"}},
		{"half a handshake's version", `tls.version == "1.3"`, handshake, "true", nil, nil},
		{"DNS answers repeat the question", `path == "shop.test" && "A" in dns_question_types && dns_rcode == "NOERROR"`, name, "true", nil, nil},
		{"DNS answers do not tell the query's length", `dns_request_length == 0`, name, "unknown", nil, []string{"dns_request_length"}},
		{"not retried", `retry.attempts <= 3`, checkout(), "unknown", []string{"retry.attempts"}, nil},
		{"not retried, asked", `!has(retry.attempts) || retry.attempts <= 3`, checkout(), "true", nil, nil},
		{"retried", `retry.attempts <= 3`, retried, "true", nil, nil},
		{"no delay before the first attempt", `retry.delay > duration("0s")`, retried, "unknown", []string{"retry.delay"}, nil},
		{"no connection", `handshake_rtt < duration("1ms")`, checkout(), "unknown", []string{"handshake_rtt"}, nil},
		{"other protocol", `dns_rcode == "NOERROR"`, lost, "unknown", []string{"dns_rcode"}, nil},
		{"other protocol's answer", `tls.version >= "1.2"`, lost, "unknown", []string{"tls.version"}, nil},
	}
	env, err := filter.RowEnv()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			translated, err := filter.Translate(c.src)
			if err != nil {
				t.Fatal(err)
			}
			checked, err := translated.Check(env)
			if err != nil {
				t.Fatal(err)
			}
			program, err := filter.Program(env, checked)
			if err != nil {
				t.Fatal(err)
			}
			act := filter.NewActivation(time.Unix(100, 0))
			act.Reset(&filter.Row{Call: c.call}, filter.ModeExpect)
			out, _, err := program.Eval(act)
			if err != nil {
				t.Fatal(err)
			}
			got := "unknown"
			if b, ok := out.(types.Bool); ok {
				got = map[bool]string{true: "true", false: "false"}[bool(b)]
			}
			if got != c.want {
				t.Errorf("want %s, got %v", c.want, out)
			}
			if diff := cmp.Diff(c.missing, act.Missing()); diff != "" {
				t.Error("missing", diff)
			}
			if diff := cmp.Diff(c.unanswered, act.Unanswered()); diff != "" {
				t.Error("unanswered", diff)
			}
			act.Reset(&filter.Row{Call: c.call}, filter.ModeFilter)
			if _, _, err := program.Eval(act); err != nil || act.Missing() != nil || act.Unanswered() != nil {
				t.Errorf("filters use defaults: %v, %v, %v", err, act.Missing(), act.Unanswered())
			}
		})
	}
}
