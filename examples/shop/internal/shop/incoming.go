package shop

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// Incoming is what a service passes on from the request that it serves to the requests that it makes for it.
type Incoming struct {
	RequestID     string // X-Request-Id, one for all calls of a user's action
	TraceID       string // of the W3C trace context
	SpanID        string // this service's own: the parent of its outgoing calls
	Authorization string // as login gave it
	Iteration     string // devloop-iteration, so that a verdict knows which calls it caused
	Baggage       string
	TraceState    string
}

type incomingKey struct{}

// From is what came with the request that ctx belongs to; its zero value outside of a request.
func From(ctx context.Context) Incoming {
	in, _ := ctx.Value(incomingKey{}).(Incoming)
	return in
}

// receive reads what every request carries, and answers the health probe.
func (s *Service) receive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h := r.Header
		in := Incoming{
			RequestID: h.Get("X-Request-Id"), Authorization: h.Get("Authorization"),
			Iteration: h.Get("devloop-iteration"), Baggage: h.Get("baggage"), TraceState: h.Get("tracestate"),
			TraceID: traceID(h.Get("traceparent")), SpanID: random(8),
		}
		if in.RequestID == "" {
			in.RequestID = random(8)
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), incomingKey{}, in)))
	})
}

// traceID is the second field of a traceparent header, or a new one where there is none.
func traceID(traceparent string) string {
	if f := strings.Split(traceparent, "-"); len(f) >= 4 && len(f[1]) == 32 {
		return f[1]
	}
	return random(16)
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

type requestsKey struct{}

// countRequests gives every connection a counter, see [RequestOnConnection].
func countRequests(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, requestsKey{}, new(atomic.Int64))
}

// RequestOnConnection counts this request on its connection, from 1.
func RequestOnConnection(ctx context.Context) int64 {
	n, ok := ctx.Value(requestsKey{}).(*atomic.Int64)
	if !ok {
		return 1
	}
	return n.Add(1)
}
