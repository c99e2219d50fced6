// Package thirdparty stands in for other companies' analytics: collect.metrics.example, which the shop means to call,
// and telemetry.vendor.example, which it does not.
package thirdparty

import (
	"context"
	"net/http"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// New makes the service.
func New(_ context.Context, s *shop.Service) (http.Handler, error) {
	accept := shop.Handle(func(r *http.Request) (any, error) {
		var event map[string]any
		if err := shop.Read(r, &event); err != nil {
			return nil, err
		}
		return map[string]bool{"accepted": true}, s.Work(r.Context(), 500*time.Microsecond)
	})
	mux := http.NewServeMux()
	mux.Handle("POST /collect", accept)
	mux.Handle("POST /telemetry", accept)
	return mux, nil
}
