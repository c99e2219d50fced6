package shop_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/devloop-io/devloop/examples/shop/internal/cart"
	"github.com/devloop-io/devloop/examples/shop/internal/catalogue"
	"github.com/devloop-io/devloop/examples/shop/internal/checkout"
	"github.com/devloop-io/devloop/examples/shop/internal/frontend"
	"github.com/devloop-io/devloop/examples/shop/internal/gateway"
	"github.com/devloop-io/devloop/examples/shop/internal/login"
	"github.com/devloop-io/devloop/examples/shop/internal/orders"
	"github.com/devloop-io/devloop/examples/shop/internal/payment"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/examples/shop/internal/standin"
	"github.com/devloop-io/devloop/examples/shop/internal/thirdparty"
)

// builders in the order in which they start.
var builders = []struct {
	name  string
	build shop.Builder
}{
	{"thirdparty", thirdparty.New}, {"gateway", gateway.New}, {"login", login.New}, {"catalogue", catalogue.New},
	{"orders", orders.New}, {"payment", payment.New}, {"cart", cart.New}, {"checkout", checkout.New}, {"frontend", frontend.New},
}

// running is a whole shop in this process: every service on a loopback port of its own, and what each was asked.
type running struct {
	frontend  string
	alone     int          // checkouts that are sent one by one, after all others
	databases atomic.Int64 // connections that the database accepted
	nxdomain  atomic.Int64 // names that were looked up and do not exist

	mu      sync.Mutex
	seen    []exchange
	queries []standin.Execution
	told    []told
}

// told is one command that the cache was told.
type told struct {
	words []string
	reply string
	at    time.Time
}

// exchange is one request as its server saw it.
type exchange struct {
	service, method, path string
	host, query           string
	header                http.Header
	remote                string
	tls                   *tls.ConnectionState
	start, end            time.Time
	status                int // 0 when the server hung up
	response              http.Header
	body                  string
}

// startShop starts the shop with some faults planted, on stand-ins for PostgreSQL and Redis. It is gone when the test
// ends.
func startShop(t *testing.T, faults string) *running {
	t.Helper()
	s := &running{alone: alone}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	t.Cleanup(func() { cancel(); serving.Wait() })
	sql, cache := listen(t), listen(t)
	postgres, redis := standin.NewPostgres(), standin.NewRedis()
	postgres.Executed = func(e standin.Execution) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.queries = append(s.queries, e)
	}
	redis.Answered = func(words []string, reply string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, told{words, reply, time.Now()})
	}
	serving.Go(func() { standin.Serve(ctx, counting{sql, &s.databases}, postgres.Handle) })
	serving.Go(func() { standin.Serve(ctx, cache, redis.Handle) })
	s.start(t, faults, sql.Addr().String(), cache.Addr().String())
	return s
}

// start starts the services on a database and a cache that run already.
func (s *running) start(t *testing.T, faults, database, cache string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	t.Cleanup(func() { cancel(); serving.Wait() })
	resolver := s.names(t, ctx, &serving)

	listeners := map[string]net.Listener{}
	for _, b := range builders {
		listeners[b.name] = listen(t)
	}
	encrypted := listen(t)
	config, err := shop.ServerTLS("api.payments.example")
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"FAULTS":             faults,
		"DATABASE_URL":       "postgres://shop@" + database + "/shop?sslmode=disable",
		"CACHE_ADDR":         cache,
		"METRICS_ADDR":       listeners["thirdparty"].Addr().String(),
		"TELEMETRY_ADDR":     listeners["thirdparty"].Addr().String(),
		"GATEWAY_ADDR":       encrypted.Addr().String(),
		"GATEWAY_PLAIN_ADDR": listeners["gateway"].Addr().String(),
		"LOGIN_URL":          "http://" + listeners["login"].Addr().String(),
		"CATALOGUE_URL":      "http://" + listeners["catalogue"].Addr().String(),
		"CART_URL":           "http://" + listeners["cart"].Addr().String(),
		"CHECKOUT_URL":       "http://" + listeners["checkout"].Addr().String(),
		"PAYMENT_URL":        "http://" + listeners["payment"].Addr().String(),
		"ORDERS_URL":         "http://" + listeners["orders"].Addr().String(),
		"STOCK_ADDR":         listeners["orders"].Addr().String(),
	}
	for _, b := range builders {
		service, err := shop.New(b.name, func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		service.Resolver = resolver
		handler, err := b.build(ctx, service)
		if err != nil {
			t.Fatalf("start %s: %v", b.name, err)
		}
		at := []net.Listener{listeners[b.name]}
		if b.name == "gateway" {
			at = append(at, tls.NewListener(encrypted, config))
		}
		serving.Go(func() {
			if err := service.Serve(ctx, s.record(b.name, handler), at...); err != nil {
				t.Errorf("%s: %v", b.name, err)
			}
		})
	}
	s.frontend = "http://" + listeners["frontend"].Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type counting struct {
	net.Listener
	n *atomic.Int64
}

func (c counting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return conn, err
}

// names is a DNS server that knows the cache by its full name and nothing else, and a resolver that asks it.
func (s *running) names(t *testing.T, ctx context.Context, serving *sync.WaitGroup) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	serving.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.Additionals = true, nil
			if q.Name.String() == "cache.shop.svc.cluster.local." {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			} else {
				m.RCode = dnsmessage.RCodeNameError
				s.nxdomain.Add(1)
			}
			if answer, err := m.Pack(); err == nil {
				conn.WriteTo(answer, from)
			}
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, conn.LocalAddr().String())
	}}
}

// record notes each exchange of a service.
func (s *running) record(service string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := &watchedWriter{ResponseWriter: w}
		e := exchange{service: service, method: r.Method, path: r.URL.Path, host: r.Host, query: r.URL.RawQuery, header: r.Header.Clone(), remote: r.RemoteAddr, tls: r.TLS, start: time.Now()}
		next.ServeHTTP(watched, r)
		e.end, e.status, e.response, e.body = time.Now(), watched.status, maps.Clone(w.Header()), watched.body.String()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen = append(s.seen, e)
	})
}

type watchedWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *watchedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	w.status = cmp.Or(w.status, http.StatusOK)
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

// Flush sends what was written so far; gRPC asks for it by type.
func (w *watchedWriter) Flush() {
	w.status = cmp.Or(w.status, http.StatusOK)
	http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets a handler reach the connection.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// journeys logs in and sends the journey n times, four at a time, step by step as the exercise does; then some checkouts
// one by one.
func (s *running) journeys(t *testing.T, n int) map[string]map[int]int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}, Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	var trace atomic.Int64
	send := func(method, path, token, body string) (int, []byte) {
		r, err := http.NewRequest(method, s.frontend+path, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		r.Header.Set("traceparent", fmt.Sprintf("00-%032x-%016x-01", trace.Add(1), 1))
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, answer
	}
	_, answer := send("POST", "/api/v1/login", "", `{"user":"ada","password":"lovelace"}`)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &token); err != nil || token.AccessToken == "" {
		t.Fatalf("login answered %s", answer)
	}
	answers := map[string]map[int]int{}
	for _, step := range []struct {
		method, path, body string
		n, senders         int
	}{
		{"GET", "/api/v1/catalogue", "", n, 4},
		{"POST", "/api/v1/cart", `{"cart":"%d","items":[1,2,3,4,5]}`, n, 4},
		{"POST", "/api/v1/checkout", `{"cart":"%d"}`, n, 4},
		{"POST", "/api/v1/checkout", `{"cart":"%d"}`, s.alone, 1},
	} {
		var mu sync.Mutex
		var sending sync.WaitGroup
		numbers := make(chan int)
		if answers[step.path] == nil {
			answers[step.path] = map[int]int{}
		}
		for range step.senders {
			sending.Go(func() {
				for i := range numbers {
					body := step.body
					if body != "" {
						body = fmt.Sprintf(body, i)
					}
					status, _ := send(step.method, step.path, token.AccessToken, body)
					mu.Lock()
					answers[step.path][status]++
					mu.Unlock()
				}
			})
		}
		for i := range step.n {
			numbers <- i
		}
		close(numbers)
		sending.Wait()
	}
	return answers
}
