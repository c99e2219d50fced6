package filter_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// rows are calls of a small shop, varied enough that no branch is free.
func rows(n int) []filter.Row {
	services := []string{"frontend", "cart", "checkout", "payment", "catalogue"}
	all := make([]filter.Row, n)
	for i := range all {
		all[i].Call = &traffic.Call{
			ID: fmt.Sprintf("local/%d/0", i), Protocol: traffic.ProtoHTTP, State: traffic.StateComplete,
			Src:    traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.1"), Port: 40000, Workload: traffic.Workload{Service: services[i%5], Namespace: "local"}},
			Dst:    traffic.Endpoint{IP: netip.MustParseAddr("10.0.0.2"), Port: 8080, Workload: traffic.Workload{Service: services[i%4], Namespace: "local"}},
			Method: "GET", Path: fmt.Sprintf("/api/v%d/items/%d", i%3, i), Status: 200 + 100*(i%4),
			Start: 1, RequestEnd: 2, ResponseStart: int64(i%200) * 1e6, End: int64(i%200) * 2e6,
			HTTP: &traffic.HTTP{Host: "x", RequestHeaders: []traffic.Header{{Name: "Accept", Value: "*/*"}, {Name: "X-Request-Id", Value: "1"}}},
		}
	}
	return all
}

// BenchmarkMatch compares a filter with the predicate that a person would write in Go: ×hand is how many times slower it is.
func BenchmarkMatch(b *testing.B) {
	cases := []struct {
		src  string
		hand func(*traffic.Call) bool
	}{
		{`http && status_code >= 500`, func(c *traffic.Call) bool {
			return c.Protocol == "http" && c.Answered() && c.Status >= 500
		}},
		{`http && dst.service.name == "frontend" && path.startsWith("/api/v1/") && status_code == 200`, func(c *traffic.Call) bool {
			return c.Protocol == "http" && c.Dst.Service == "frontend" && strings.HasPrefix(c.Path, "/api/v1/") && c.Answered() && c.Status == 200
		}},
		{`http && latency > duration("100ms")`, func(c *traffic.Call) bool {
			return c.Protocol == "http" && c.State == traffic.StateComplete && c.Latency() > int64(100*time.Millisecond)
		}},
		{`method in ["POST", "PUT"] || request.headers["x-request-id"] == ""`, func(c *traffic.Call) bool {
			if c.Method == "POST" || c.Method == "PUT" {
				return true
			}
			for _, h := range c.HTTP.RequestHeaders {
				if strings.EqualFold(h.Name, "x-request-id") {
					return h.Value == ""
				}
			}
			return true
		}},
	}
	all := rows(1024)
	for _, c := range cases {
		f, err := filter.Compile(c.src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.ReplaceAll(c.src, "/", "|"), func(b *testing.B) {
			b.ReportAllocs()
			matched := 0
			for i := 0; b.Loop(); i++ {
				if ok, _ := f.Match(&all[i%len(all)]); ok {
					matched++
				}
			}
			perFilter := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.StopTimer()
			start, hand := time.Now(), 0
			n := max(b.N, 100_000)
			for i := range n {
				if c.hand(all[i%len(all)].Call) {
					hand++
				}
			}
			b.ReportMetric(perFilter/(float64(time.Since(start).Nanoseconds())/float64(n)), "×hand")
		})
	}
}
