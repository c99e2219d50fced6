package store

import (
	"fmt"
	"iter"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// manyCalls are calls of a shop in the mix of most systems: mostly HTTP, some gRPC, Redis, PostgreSQL and DNS.
func manyCalls(n int) iter.Seq[*traffic.Call] {
	services := make([]string, 40)
	for i := range services {
		services[i] = fmt.Sprintf("service-%02d", i)
	}
	services[3], services[7] = "payment", "frontend"
	return func(yield func(*traffic.Call) bool) {
		state := uint64(1)
		next := func(n int) int { // xorshift: the same calls each time
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			return int(state % uint64(n))
		}
		for i := range n {
			from, to := services[next(40)], services[next(next(40)+1)]
			c := &traffic.Call{
				ID: fmt.Sprintf("local/%x/%d", i/10, i%10), ConnID: uint64(i / 10), FlowID: uint64(next(1600)), Index: i % 10, State: traffic.StateComplete, Point: "client",
				Src:   traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, 0, byte(next(250))}), Port: uint16(30000 + next(30000)), Workload: traffic.Workload{Namespace: "shop", Kind: "pod", Service: from, Pod: from + "-7f9c"}},
				Dst:   traffic.Endpoint{IP: netip.AddrFrom4([4]byte{10, 0, 1, byte(next(250))}), Port: 8080, Workload: traffic.Workload{Namespace: "shop", Kind: "pod", Service: to, Pod: to + "-55d8"}},
				Start: 1_700_000_000e9 + int64(i)*3_600_000, TraceID: fmt.Sprintf("%016x%016x", state, i),
			}
			c.RequestEnd = c.Start + 100_000
			c.ResponseStart = c.RequestEnd + int64(next(50))*1e6
			c.End = c.ResponseStart + int64(next(20))*1e5
			switch kind := next(100); {
			case kind < 77:
				c.Protocol, c.Method, c.Path, c.Status = traffic.ProtoHTTP, "GET", fmt.Sprintf("/api/v1/orders/%d/items", next(3000)), 200
				if next(50) == 0 {
					c.Status = 503
				}
				c.HTTP = &traffic.HTTP{Version: "1.1", Host: to, RequestHeaders: []traffic.Header{{Name: "user-agent", Value: "Go-http-client/1.1"}, {Name: "x-request-id", Value: fmt.Sprintf("%016x", state)},
					{Name: "accept", Value: "application/json"}, {Name: "traceparent", Value: "00-" + c.TraceID + "-00f067aa0ba902b7-01"}},
					ResponseHeaders: []traffic.Header{{Name: "content-type", Value: "application/json"}, {Name: "date", Value: "Sat, 21 Nov 2026 08:00:00 GMT"}, {Name: "server", Value: "shop"}},
					RequestBody:     fmt.Appendf(nil, `{"order":%d,"customer":"c-%d","items":[{"sku":"A%d","n":2}]}`, next(1e6), next(1e5), next(1000)),
					ResponseBody:    fmt.Appendf(nil, `{"id":%d,"total":%d.50,"status":"accepted","history":"%s"}`, i, next(1000), strings.Repeat("ok ", next(100)))}
				if kind < 12 {
					c.GRPC = &traffic.GRPC{Service: "shop.v1.Cart", Method: "AddItem"}
				}
			case kind < 87:
				c.Protocol, c.Method, c.Path = traffic.ProtoRedis, "GET", fmt.Sprintf("cart:%d", next(10000))
				c.Redis = &traffic.Redis{Command: "GET", Key: c.Path, Args: []string{c.Path}, Type: "string", Reply: "{}"}
			case kind < 95:
				c.Protocol, c.Method, c.Path = traffic.ProtoPostgreSQL, "SELECT", "SELECT * FROM orders WHERE id = $1"
				c.PostgreSQL = &traffic.PostgreSQL{Command: "SELECT", Query: c.Path, Fingerprint: c.Path, Database: "shop", Success: true, Rows: int64(next(9)), Arguments: []string{fmt.Sprint(next(1e6))}}
			default:
				c.Protocol, c.Method, c.Path = traffic.ProtoDNS, "A", to+".shop.svc"
				c.DNS = &traffic.DNS{Transport: "udp", RCode: "NOERROR", Questions: []traffic.DNSRecord{{Name: c.Path, Type: "A"}}}
			}
			if !yield(c) {
				return
			}
		}
	}
}

// evict takes a file out of the page cache.
func evict(b *testing.B, path string) {
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		b.Fatal(err)
	}
}

// processorTime is what the process took so far: on a machine that others use too, it says more than the clock.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMatchCalls searches a file of 1,000,000 calls (DEVLOOP_BENCH_CALLS for another number): cold is the first run after the
// file left the page cache. ×cel and ×loop are what evaluating the same calls one by one takes, by the filter and by hand-written
// Go, without reading them from the file, as multiples of the time here.
func BenchmarkMatchCalls(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("DEVLOOP_BENCH_CALLS"); s != "" {
		if _, err := fmt.Sscan(s, &n); err != nil {
			b.Fatal(err)
		}
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("devloop-bench-%d-%d.parquet", n, os.Getuid()))
	if _, err := os.Stat(path); err != nil {
		if err := WriteCalls(create(b, path+".new"), manyCalls(n)); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			b.Fatal(err)
		}
	}
	var sample []filter.Row // enough to time row by row
	for c := range manyCalls(min(n, 20_000)) {
		sample = append(sample, filter.Row{Call: c})
	}
	for _, c := range []struct {
		src  string
		hand func(*traffic.Call) bool
	}{
		{`http && status_code == 503 && dst.service.name == "payment"`, func(c *traffic.Call) bool {
			return c.Protocol == "http" && c.Answered() && c.Status == 503 && c.Dst.Service == "payment"
		}},
		{`http && status_code >= 500`, func(c *traffic.Call) bool { return c.Protocol == "http" && c.Answered() && c.Status >= 500 }},
		{`http && path.startsWith("/api/v1/orders/12") && src.service.name != "frontend"`, func(c *traffic.Call) bool {
			return c.Protocol == "http" && strings.HasPrefix(c.Path, "/api/v1/orders/12") && c.Src.Service != "frontend"
		}},
		{`latency > duration("45ms")`, func(c *traffic.Call) bool {
			return c.State == traffic.StateComplete && c.Latency() > int64(45*time.Millisecond)
		}},
		{`timestamp > timestamp("2023-11-14T22:15:00Z") && timestamp < timestamp("2023-11-14T22:17:00Z") && http`, func(c *traffic.Call) bool {
			return c.Start > 1_700_000_100e9 && c.Start < 1_700_000_220e9 && c.Protocol == "http"
		}},
		{`redis && redis_key == "cart:77"`, func(c *traffic.Call) bool { return c.Redis != nil && c.Redis.Key == "cart:77" }},
		{`request.headers["x-request-id"] == "00000000deadbeef"`, func(c *traffic.Call) bool {
			return c.HTTP != nil && c.HTTP.RequestHeaders[1].Value == "00000000deadbeef"
		}},
		{`response.body.contains("accepted\",\"history\":\"\"")`, func(c *traffic.Call) bool {
			return c.HTTP != nil && strings.Contains(string(c.HTTP.ResponseBody), `accepted","history":""`)
		}},
		{`mentions("c-54321")`, func(c *traffic.Call) bool {
			return c.HTTP != nil && strings.Contains(string(c.HTTP.RequestBody), "c-54321")
		}},
	} {
		f, err := filter.Compile(c.src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(strings.ReplaceAll(c.src, "/", "|"), func(b *testing.B) {
			evict(b, path)
			start, busy := time.Now(), processorTime(b)
			var rows int
			var asked int64
			cold := true
			for b.Loop() {
				got, err := MatchCalls(b.Context(), path, f, nil)
				if err != nil {
					b.Fatal(err)
				}
				if cold {
					b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "cold-ms")
				}
				if cold {
					cold, busy = false, processorTime(b) // of the warm runs
				}
				rows, asked = got.Count(), got.Asked
			}
			b.ReportMetric((processorTime(b)-busy).Seconds()*1000/float64(max(1, b.N-1)), "cpu-ms")
			took := float64(b.Elapsed()) / float64(b.N) / float64(n)
			perRow := func(do func(*filter.Row) bool) float64 {
				start := time.Now()
				for i := range sample {
					do(&sample[i])
				}
				return float64(time.Since(start)) / float64(len(sample))
			}
			b.ReportMetric(perRow(func(r *filter.Row) bool { ok, _ := f.Match(r); return ok })/took, "×cel")
			b.ReportMetric(perRow(func(r *filter.Row) bool { return c.hand(r.Call) })/took, "×loop")
			b.ReportMetric(float64(rows), "rows")
			b.ReportMetric(float64(asked), "asked")
		})
	}
}
