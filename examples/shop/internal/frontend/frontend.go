// Package frontend is the service that users talk to: it checks their token and asks the services behind it.
package frontend

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

type frontend struct {
	*shop.Service
	login, catalogue, cart, checkout, metrics *shop.Peer
}

// New makes the service.
func New(_ context.Context, s *shop.Service) (http.Handler, error) {
	f := &frontend{
		Service: s, login: s.Peer("login", "LOGIN"), catalogue: s.Peer("catalogue", "CATALOGUE"),
		cart: s.Peer("cart", "CART"), checkout: s.Peer("checkout", "CHECKOUT"), metrics: s.Outside("http://collect.metrics.example", "METRICS"),
	}
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/login", shop.Handle(f.pass(f.login, "/login")))
	mux.Handle("GET /api/v1/catalogue", f.authenticated(f.showCatalogue))
	mux.Handle("POST /api/v1/cart", f.authenticated(f.pass(f.cart, "/carts")))
	mux.Handle("POST /api/v1/checkout", f.authenticated(f.pass(f.checkout, "/checkout")))
	return mux, nil
}

// authenticated refuses requests without a token of ours.
func (f *frontend) authenticated(next func(*http.Request) (any, error)) http.Handler {
	return shop.Handle(func(r *http.Request) (any, error) {
		if _, ok := shop.User(shop.From(r.Context()).Authorization, time.Now()); !ok {
			return nil, shop.Fail(http.StatusUnauthorized, "log in first")
		}
		return next(r)
	})
}

// pass hands a request on and its answer back, status included.
func (f *frontend) pass(peer *shop.Peer, path string) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var body json.RawMessage
		if err := shop.Read(r, &body); err != nil {
			return nil, err
		}
		request, err := peer.Request(r.Context(), "POST", path, body)
		if err != nil {
			return nil, err
		}
		reply, err := peer.Send(request)
		if err != nil {
			return nil, shop.Fail(http.StatusBadGateway, "%v", err)
		}
		return shop.Answer{Status: reply.Status, Body: json.RawMessage(reply.Body)}, nil
	}
}

func (f *frontend) showCatalogue(r *http.Request) (any, error) {
	request, err := f.catalogue.Request(r.Context(), "GET", "/items", nil)
	if err != nil {
		return nil, err
	}
	if f.Fault("no-correlation-id") {
		request.Header.Del("X-Request-Id") // one call of eight, 12 % of all
	}
	reply, err := f.catalogue.Send(request)
	if err != nil {
		return nil, shop.Fail(http.StatusBadGateway, "%v", err)
	}
	f.count(r.Context(), "catalogue")
	var items json.RawMessage
	return &items, reply.Decode("catalogue", &items)
}

// count tells the third party what is popular; a user never learns of its errors.
func (f *frontend) count(ctx context.Context, event string) {
	request, err := f.metrics.Request(ctx, "POST", "/collect", map[string]string{"event": event})
	if err != nil {
		return
	}
	if f.Fault("token-forwarded") {
		request.Header.Set("Authorization", shop.From(ctx).Authorization) // "pass all headers on"
	}
	if _, err := f.metrics.Send(request); err != nil {
		f.Log.Warn("event not counted", "error", err)
	}
}
