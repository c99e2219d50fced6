// Package login is the service that knows users and gives out tokens.
package login

import (
	"context"
	"net/http"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// New makes the service.
func New(_ context.Context, s *shop.Service) (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("POST /login", shop.Handle(func(r *http.Request) (any, error) {
		var who struct{ User, Password string }
		if err := shop.Read(r, &who); err != nil {
			return nil, err
		}
		if who.User == "" || who.Password == "" {
			return nil, shop.Fail(http.StatusUnauthorized, "user and password, please")
		}
		if err := s.Work(r.Context(), time.Millisecond); err != nil {
			return nil, err
		}
		return map[string]string{"access_token": shop.Token(who.User, time.Now()), "token_type": "Bearer"}, nil
	}))
	return mux, nil
}
