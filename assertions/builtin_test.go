package assertions

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/example"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// A check of the profile agent is judged in it, or where it is asked for by its name; a glob asks for none.
func TestProfiles(t *testing.T) {
	t.Parallel()
	var every, agent []string
	for _, b := range builtins() {
		if b.agent {
			agent = append(agent, b.name)
			if b.next == "" {
				t.Errorf("%s does not say what to do next", b.name)
			}
		} else {
			every = append(every, b.name)
		}
	}
	s := &Suite{}
	for name, c := range map[string]struct {
		options  CheckOptions
		want     []string
		compares bool
	}{
		"default":        {CheckOptions{}, every, false},
		"default named":  {CheckOptions{Profile: config.ProfileDefault}, every, false},
		"agent":          {CheckOptions{Profile: config.ProfileAgent}, slices.Concat(every, agent), true},
		"a glob":         {CheckOptions{Only: []string{"builtin/*"}}, every, false},
		"one by name":    {CheckOptions{Only: []string{"builtin/secret-in-url"}}, []string{"builtin/secret-in-url"}, false},
		"one that looks": {CheckOptions{Only: []string{"builtin/new-egress"}}, []string{"builtin/new-egress"}, true},
		"some of agent":  {CheckOptions{Profile: config.ProfileAgent, Only: []string{"builtin/m*"}}, []string{"builtin/metadata-address"}, false},
		"none":           {CheckOptions{Profile: config.ProfileAgent, NoBuiltin: true}, nil, false},
	} {
		var got []string
		for _, r := range s.Check(Input{}, c.options) {
			got = append(got, r.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if c.options.Compares() != c.compares {
			t.Errorf("%s: compares %v", name, !c.compares)
		}
	}
	if unknown := s.Unknown(agent); len(unknown) > 0 {
		t.Errorf("unknown: %s", strings.Join(unknown, ", "))
	}
}

func TestMetadataNames(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"169.254.169.254": true, "169.254.169.254:80": true, "169.254.170.2": true, "[fd00:ec2::254]:80": true, "fd00:ec2::254": true,
		"Metadata.Google.Internal.": true, "metadata.google.internal:80": true,
		"[::ffff:169.254.169.254]:80": true, "fd00:ec2::254%eth0": true,
		"": false, "169.254.169.253": false, "metadata.example": false, "[::1]:80": false,
	} {
		if isMetadataName(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

// What breaks a built-in check, and what only looks like it: rows that examples in short form cannot say are changed.
func TestBuiltinsOnRows(t *testing.T) {
	t.Parallel()
	known := example.Call{From: "frontend", To: "203.0.113.9", Port: 443, Proto: "tls", Path: "api.example", Conn: 1}
	bare := func(from, to string, at float64) example.Call {
		return example.Call{From: from, To: to, Path: "/", At: at, MS: 1, Conn: 2}
	}
	bearer := func(c example.Call) example.Call {
		c.Credential, c.Headers = "aaaa", map[string]string{"Authorization": "x"}
		return c
	}
	attempts := []example.Call{
		{From: "frontend", To: "orders", Path: "/", At: 0, MS: 1, Retry: []float64{1, 3}, Group: "a"},
		{From: "frontend", To: "orders", Path: "/", At: 2, MS: 1, Retry: []float64{2, 3, 1}, Group: "a"},
		{From: "frontend", To: "orders", Path: "/", At: 6, MS: 1, Retry: []float64{3, 3, 3}, Group: "a"},
	}
	each := func(change func(c *traffic.Call)) func(d *traffic.Dissection) {
		return func(d *traffic.Dissection) {
			for _, c := range d.Calls {
				change(c)
			}
		}
	}
	grpc := func(status int) func(d *traffic.Dissection) { // of calls without a credential
		return each(func(c *traffic.Call) {
			c.GRPC = &traffic.GRPC{Service: "shop", Method: "Get", Status: status * (1 - len(c.Credentials))}
		})
	}
	for name, x := range map[string]struct {
		check          string
		passed, calls  []example.Call
		before, change func(d *traffic.Dissection) // of the run that passed, and of this one
		want           traffic.Verdict
		hits           int
	}{
		"a destination that idles in a pool": {check: "new-egress", passed: []example.Call{known}, calls: []example.Call{known, {From: "frontend", To: "198.51.100.7", Conn: 2}},
			change: func(d *traffic.Dissection) { d.Connections[1].Opened, d.Connections[1].WindowCalls = false, 0 }, want: traffic.Pass},
		"a destination that is spoken to in a pool": {check: "new-egress", passed: []example.Call{known}, calls: []example.Call{known, {From: "frontend", To: "198.51.100.7", Conn: 2}},
			change: func(d *traffic.Dissection) { d.Connections[1].Opened = false }, want: traffic.Fail, hits: 1},
		"a name server, whatever it speaks": {check: "new-egress", passed: []example.Call{known}, calls: []example.Call{known, {From: "frontend", To: "8.8.8.8", Port: 53, Conn: 2}}, want: traffic.Pass},
		"an address that is known without its name": {check: "new-egress", passed: []example.Call{known}, calls: []example.Call{known},
			change: func(d *traffic.Dissection) { d.Connections[0].SNI = "api.example" }, want: traffic.Pass},
		"a metadata service by the Host header": {check: "metadata-address", calls: []example.Call{bare("stock", "proxy", 0)},
			change: each(func(c *traffic.Call) { c.HTTP.Host = "metadata.google.internal" }), want: traffic.Fail, hits: 1},
		"a metadata service by its name": {check: "metadata-address", calls: []example.Call{bare("stock", "proxy", 0)},
			change: func(d *traffic.Dissection) { d.Connections[0].Dst.DNS = "metadata.google.internal" }, want: traffic.Fail, hits: 1},
		"a metadata service by its SNI": {check: "metadata-address", calls: []example.Call{bare("stock", "proxy", 0)},
			change: func(d *traffic.Dissection) { d.Connections[0].SNI = "metadata.google.internal" }, want: traffic.Fail, hits: 1},
		"a name server at a metadata address": {check: "metadata-address", calls: []example.Call{{From: "stock", To: "169.254.169.254", Port: 53, Conn: 1}}, want: traffic.Pass},

		"half a call says nothing of its headers": {check: "auth-missing", calls: []example.Call{bearer(bare("frontend", "orders", 0)), {From: "frontend", To: "orders", Path: "/", Method: "GET", At: 5, State: "half", Conn: 2}},
			want: traffic.Inconclusive},
		"200 is no success of gRPC":      {check: "auth-missing", calls: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, change: grpc(16), want: traffic.Pass},
		"success of gRPC":                {check: "auth-missing", calls: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, change: grpc(0), want: traffic.Fail, hits: 1},
		"nobody ever sent authorization": {check: "auth-missing", passed: []example.Call{{From: "frontend", To: "orders", Path: "/", Status: 403}}, calls: []example.Call{bare("frontend", "orders", 5)}, want: traffic.Skipped},
		"refused by gRPC before":         {check: "auth-missing", passed: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, before: grpc(16), calls: []example.Call{bare("frontend", "orders", 5)}, change: grpc(0), want: traffic.Fail, hits: 1},
		"open before":                    {check: "auth-missing", passed: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, calls: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, want: traffic.Skipped},
		"headers that were cut before": {check: "auth-missing", passed: []example.Call{{From: "frontend", To: "orders", Path: "/", Cut: true}},
			calls: []example.Call{bearer(bare("frontend", "orders", 0)), bare("frontend", "orders", 5)}, want: traffic.Fail, hits: 1},

		"a service asks itself":      {check: "token-forwarded", passed: []example.Call{bare("test", "orders", 0)}, calls: []example.Call{bearer(bare("test", "orders", 0)), bearer(bare("orders", "orders", 5))}, want: traffic.Pass},
		"a service asks another":     {check: "token-forwarded", passed: []example.Call{bare("test", "orders", 0)}, calls: []example.Call{bearer(bare("test", "orders", 0)), bearer(bare("orders", "stock", 5))}, want: traffic.Fail, hits: 1},
		"a session's cookie goes on": {check: "token-forwarded", passed: []example.Call{bare("test", "orders", 0)}, calls: []example.Call{bearer(bare("test", "orders", 0)), bearer(bare("orders", "stock", 5))}, change: each(func(c *traffic.Call) { c.Credentials[0].Place = "request.cookie:session" }), want: traffic.Fail, hits: 1},
		"somebody outside hands it back": {check: "token-forwarded", passed: []example.Call{bare("test", "orders", 0)}, calls: []example.Call{bearer(bare("orders", "203.0.113.9", 0)), bearer(bare("203.0.113.9", "orders", 5))},
			change: each(func(c *traffic.Call) {
				for _, e := range []*traffic.Endpoint{&c.Src, &c.Dst} {
					if e.Service == "" {
						e.DNS = "hooks.example"
					}
				}
			}), want: traffic.Skipped},
		"tokens that nothing compares": {check: "token-forwarded", passed: []example.Call{bare("test", "orders", 0)}, calls: []example.Call{bearer(bare("test", "orders", 0)), bearer(bare("orders", "stock", 5))}, change: each(func(c *traffic.Call) { c.Credentials[0].Hash = "" }), want: traffic.Skipped},

		"three attempts at once":            {check: "unbounded-retry", calls: attempts, want: traffic.Fail, hits: 3},
		"of somebody outside":               {check: "unbounded-retry", calls: attempts, change: each(func(c *traffic.Call) { c.Src.Outside = true }), want: traffic.Pass},
		"that look alike and did not fail":  {check: "unbounded-retry", calls: attempts, change: each(func(c *traffic.Call) { c.Retry.Confidence = "inferred" }), want: traffic.Pass},
		"that look alike and were too many": {check: "unbounded-retry", calls: attempts, change: each(func(c *traffic.Call) { c.Retry.Confidence, c.Status = "inferred", 429 }), want: traffic.Fail, hits: 3},
		"with growing delays":               {check: "unbounded-retry", calls: attempts, change: each(func(c *traffic.Call) { c.Retry.DelayNS *= 3 }), want: traffic.Pass},
		"that began before the window":      {check: "unbounded-retry", calls: []example.Call{{From: "frontend", To: "orders", Path: "/", Retry: []float64{9, 9}}}, want: traffic.Fail, hits: 1},
		"where one of two endpoints' clients backs off": {check: "unbounded-retry", calls: append(slices.Clone(attempts),
			example.Call{From: "frontend", To: "orders", Path: "/", At: 1000, MS: 1, Retry: []float64{1, 3}, Group: "b"},
			example.Call{From: "frontend", To: "orders", Path: "/", At: 1011, MS: 1, Retry: []float64{2, 3, 10}, Group: "b"},
			example.Call{From: "frontend", To: "orders", Path: "/", At: 1042, MS: 1, Retry: []float64{3, 3, 30}, Group: "b"}), want: traffic.Fail, hits: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := Input{Dissection: example.Dissection(x.calls, nil)}
			if x.change != nil {
				x.change(in.Dissection)
			}
			if len(x.passed) > 0 {
				d := example.Dissection(x.passed, nil)
				if x.before != nil {
					x.before(d)
				}
				var err error
				if in.Passed, err = baseline.New(baseline.Meta{}, []*baseline.Run{baseline.Summarize("i1", d)}); err != nil {
					t.Fatal(err)
				}
			}
			got := (&Suite{}).Check(in, CheckOptions{Only: []string{"builtin/" + x.check}})[0]
			hits := 0
			if got.Verdict == traffic.Fail {
				hits = got.EvidenceTotal
			}
			if got.Verdict != x.want || hits != x.hits {
				t.Errorf("%s with %d hits, want %s with %d: %s", got.Verdict, hits, x.want, x.hits, got.Reason)
			}
		})
	}
}
