package shop_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/examples/shop/internal/database"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/examples/shop/internal/standin"
	"github.com/devloop-io/devloop/examples/shop/internal/stock"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// Journeys per shop, and checkouts one by one after them, as in devloop.yaml.
const sent, alone = 80, 5

// symptoms say of each fault how it shows to those who can look inside; the checks say it of the packets alone.
var symptoms = map[string]func(*running) bool{
	"auth-missing": some("orders", func(e exchange) bool { return e.header.Get("Authorization") == "" }),
	"cache-miss": some("catalogue /items", func(e exchange) bool {
		return e.response.Get("Cache-Control") == "" && e.response.Get("X-Cache") == "miss"
	}),
	"cart-miss":             asked("GET carts/"),
	"db-churn":              func(s *running) bool { return s.databases.Load() > 20 },
	"dns-flood":             func(s *running) bool { return s.nxdomain.Load() > 20 },
	"field-changed":         some("catalogue /items", func(e exchange) bool { return !strings.Contains(e.body, `"price"`) }),
	"grpc-churn":            func(s *running) bool { return connections(s, "orders "+stock.CheckMethod) > sent/2 },
	"grpc-deadline-missing": some("orders "+stock.CheckMethod, func(e exchange) bool { return e.header.Get("Grpc-Timeout") == "" }),
	"grpc-unavailable":      some("orders "+stock.CheckMethod, func(e exchange) bool { return e.response.Get("Grpc-Status") == "14" }),
	"keepalive-lost":        func(s *running) bool { return connections(s, "payment ") > sent/2 },
	"n-plus-one":            func(s *running) bool { return longest(attempts(s)) > 3 },
	"n-plus-one-sql":        queried(func(q standin.Execution) bool { return q.SQL == database.SelectStockOfItem }),
	"new-egress":            some("thirdparty /telemetry", func(exchange) bool { return true }),
	"no-correlation-id":     some("", func(e exchange) bool { return e.service != "frontend" && e.header.Get("X-Request-Id") == "" }),
	"payment-slow":          some("payment", func(e exchange) bool { return e.status == 200 && e.end.Sub(e.start) > 400*time.Millisecond }),
	"payment-timeout":       some("frontend /api/v1/checkout", func(e exchange) bool { return e.status == 503 }),
	"plaintext":             some("gateway", func(e exchange) bool { return e.tls == nil }),
	"pool-exhaustion":       some("payment", func(e exchange) bool { return e.status == 0 }),
	"redis-error":           asked("HINCRBY "),
	"redis-keys":            asked("KEYS "),
	"retry-no-backoff":      retried(func(first, second time.Duration) bool { return first > 10*time.Millisecond && second < first*3/2 }),
	"retry-storm": retried(func(first, second time.Duration) bool {
		return first < 10*time.Millisecond && second < 10*time.Millisecond
	}),
	"sni-missing":     some("gateway", func(e exchange) bool { return e.tls != nil && e.tls.ServerName == "" }),
	"sql-error":       queried(func(q standin.Execution) bool { return q.SQLState == "23505" }),
	"sql-slow":        queried(func(q standin.Execution) bool { return q.End.Sub(q.Start) > 100*time.Millisecond }),
	"tls-old":         some("gateway", func(e exchange) bool { return e.tls != nil && e.tls.Version < 0x0303 }),
	"token-forwarded": some("thirdparty", func(e exchange) bool { return e.header.Get("Authorization") != "" }),
}

// some reports whether a fact holds of any exchange of "service" or "service /path".
func some(where string, fact func(exchange) bool) func(*running) bool {
	return func(s *running) bool {
		return slices.ContainsFunc(s.seen, func(e exchange) bool {
			return strings.HasPrefix(e.service+" "+e.path, where) && fact(e)
		})
	}
}

// asked reports whether the cache was told a command that begins so.
func asked(command string) func(*running) bool {
	return func(s *running) bool {
		return slices.ContainsFunc(s.told, func(c told) bool {
			return strings.HasPrefix(strings.ToUpper(c.words[0])+" "+strings.Join(c.words[1:], " "), command)
		})
	}
}

// queried reports whether a fact holds of any statement.
func queried(fact func(standin.Execution) bool) func(*running) bool {
	return func(s *running) bool { return slices.ContainsFunc(s.queries, fact) }
}

// connections counts those on which requests came to "service /path".
func connections(s *running, where string) int {
	from := map[string]bool{}
	for _, e := range s.seen {
		if strings.HasPrefix(e.service+" "+e.path, where) {
			from[e.remote] = true
		}
	}
	return len(from)
}

// attempts are cart's price requests, by the request that cart was serving.
func attempts(s *running) map[string][]exchange {
	groups := map[string][]exchange{}
	for _, e := range s.seen {
		if e.path == "/prices" {
			parent := e.header.Get("traceparent")
			groups[parent] = append(groups[parent], e)
		}
	}
	for _, g := range groups {
		slices.SortFunc(g, func(a, b exchange) int { return a.start.Compare(b.start) })
	}
	return groups
}

func longest(groups map[string][]exchange) int {
	n := 0
	for _, g := range groups {
		n = max(n, len(g))
	}
	return n
}

// retried reports whether a fact holds of the two pauses between the three attempts of any request.
func retried(fact func(first, second time.Duration) bool) func(*running) bool {
	return func(s *running) bool {
		for _, g := range attempts(s) {
			if len(g) >= 3 && g[0].status == 503 && g[1].status == 503 && fact(g[1].start.Sub(g[0].end), g[2].start.Sub(g[1].end)) {
				return true
			}
		}
		return false
	}
}

// TestEachFaultShowsAsItselfAndNothingElse plants every fault alone and looks for the symptoms of all of them.
func TestEachFaultShowsAsItselfAndNothingElse(t *testing.T) {
	for _, fault := range append([]string{""}, shop.Faults...) {
		t.Run("fault="+fault, func(t *testing.T) {
			s := startShop(t, fault)
			answers := s.journeys(t, sent)
			s.mu.Lock()
			defer s.mu.Unlock()
			want := []string{}
			if fault != "" {
				want = []string{fault}
			}
			var got = []string{}
			for _, name := range slices.Sorted(maps.Keys(symptoms)) {
				if symptoms[name](s) {
					got = append(got, name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("symptoms (-want +got):\n%s", diff)
			}
			judge(t, s, fault)
			if diff := cmp.Diff(answersOf(fault), answers); diff != "" {
				t.Errorf("what users were answered (-want +got):\n%s", diff)
			}
		})
	}
}

// judge expects that the fault's own check fails and names its services, and that every other check passes: none fails
// or is left open for a fault that is not its own.
func judge(t *testing.T, s *running, fault string) {
	t.Helper()
	files, err := filepath.Glob("checks/*.netcheck.yaml")
	if err != nil {
		t.Fatal(err)
	}
	suite, err := assertions.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	own := faultRow{}
	for _, f := range faultTable(t) {
		if f.Fault == fault {
			own = f
		}
	}
	for _, r := range suite.Check(assertions.Input{Dissection: s.dissection(), Exercise: "checkout-rush"}, assertions.CheckOptions{}) {
		switch {
		case r.Name == own.Check:
			told := r.Reason
			for _, e := range r.Evidence {
				told += " " + e.Summary
			}
			for _, service := range own.Services {
				if r.Verdict != traffic.Fail || !strings.Contains(told, service) {
					t.Errorf("%q says %s (%s), want fail, naming %s", r.Name, r.Verdict, told, service)
				}
			}
		case slices.Contains(own.Builtin, r.Name):
			if r.Verdict != traffic.Fail {
				t.Errorf("%q says %s, want fail: %s", r.Name, r.Verdict, r.Reason)
			}
		case r.Verdict != traffic.Pass:
			t.Errorf("%q says %s by accident: %s %s", r.Name, r.Verdict, r.Reason, r.Loss)
		}
	}
}

// TestProfileAgent plants what the built-in checks of the profile agent are for: they catch each fault without a file. The clean shop
// breaks one of them on purpose: the analytics company takes plain HTTP only.
func TestProfileAgent(t *testing.T) {
	var passed *baseline.Baseline
	for _, c := range []struct {
		fault string
		fails []string
	}{
		{"", nil},
		{"auth-missing", []string{"builtin/auth-missing"}},
		{"new-egress", []string{"builtin/new-egress"}},
		{"plaintext", []string{"builtin/new-egress"}}, // another port of the gateway
		{"token-forwarded", []string{"builtin/credential-to-third-party", "builtin/token-forwarded"}},
	} {
		t.Run("fault="+c.fault, func(t *testing.T) {
			s := startShop(t, c.fault)
			s.journeys(t, sent)
			s.mu.Lock()
			defer s.mu.Unlock()
			d := s.dissection()
			if c.fault == "" {
				var err error
				if passed, err = baseline.New(baseline.Meta{}, []*baseline.Run{baseline.Summarize("i1", d)}); err != nil {
					t.Fatal(err)
				}
			}
			var fails []string
			for _, r := range (&assertions.Suite{}).Check(assertions.Input{Dissection: d, Passed: passed}, assertions.CheckOptions{Profile: config.ProfileAgent}) {
				if r.Verdict == traffic.Fail && r.Name != "builtin/plaintext-outside" {
					fails = append(fails, r.Name)
				}
				if own := r.Name == "builtin/plaintext-outside"; r.Verdict != traffic.Pass && r.Verdict != traffic.Fail || own && !strings.Contains(r.Reason, "thirdparty") ||
					own && strings.Contains(r.Reason, "gateway") != (c.fault == "plaintext") {
					t.Errorf("%s says %s: %s", r.Name, r.Verdict, r.Reason)
				}
			}
			if diff := cmp.Diff(c.fails, fails); diff != "" {
				t.Errorf("what fails (-want +got):\n%s", diff)
			}
		})
	}
}

// answersOf is how many answers of which status the journeys get.
func answersOf(fault string) map[string]map[int]int {
	answers := map[string]map[int]int{"/api/v1/catalogue": {200: sent}, "/api/v1/cart": {200: sent}, "/api/v1/checkout": {201: sent + alone}}
	switch fault {
	case "payment-timeout":
		answers["/api/v1/checkout"] = map[int]int{201: sent + alone - 5, 503: 5}
	case "pool-exhaustion": // the order stands, its charge is pending
		answers["/api/v1/checkout"] = map[int]int{201: sent + alone - 5, 202: 5}
	}
	return answers
}

func TestEveryFaultHasASymptom(t *testing.T) {
	if diff := cmp.Diff(shop.Faults, slices.Sorted(maps.Keys(symptoms))); diff != "" {
		t.Errorf("faults and symptoms differ (-faults +symptoms):\n%s", diff)
	}
}
