// Package gateway stands in for a payment company's API, api.payments.example.
package gateway

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// requestsPerConnection is after how many requests the gateway ends a connection, as real ones do. It also gives every
// exercise some new TLS handshakes to judge.
const requestsPerConnection = 8

// New makes the service.
func New(_ context.Context, s *shop.Service) (http.Handler, error) {
	var charges atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("POST /v1/charges", shop.Handle(func(r *http.Request) (any, error) {
		var charge map[string]any
		if err := shop.Read(r, &charge); err != nil {
			return nil, err
		}
		n, took := charges.Add(1), 3*time.Millisecond
		if s.Fault("payment-timeout") && n%16 == 0 { // 6 % of charges meet a bad shard
			took = 4200 * time.Millisecond
		}
		if err := s.Work(r.Context(), took); err != nil {
			return nil, err
		}
		answer := shop.Answer{Status: http.StatusCreated, Header: map[string]string{}, Body: map[string]any{"id": "ch_" + r.Header.Get("Idempotency-Key")}}
		if shop.RequestOnConnection(r.Context()) >= requestsPerConnection {
			answer.Header["Connection"] = "close"
		}
		return answer, nil
	}))
	return mux, nil
}
