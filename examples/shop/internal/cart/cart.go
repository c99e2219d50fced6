// Package cart is the service that keeps carts, in Redis, and knows what they cost.
package cart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/redisclient"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// Cart is what a user wants to buy.
type Cart struct {
	ID    string `json:"cart"`
	Items []int  `json:"items"`
	Total int    `json:"total"` // in cents
}

type cart struct {
	*shop.Service
	store     *redisclient.Store
	catalogue *shop.Peer
}

// New makes the service.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	store, err := redisclient.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &cart{Service: s, store: store, catalogue: s.Peer("catalogue", "CATALOGUE")}
	mux := http.NewServeMux()
	mux.Handle("POST /carts", shop.Handle(c.fill))
	mux.Handle("GET /carts/{id}", shop.Handle(c.show))
	return mux, nil
}

func (c *cart) fill(r *http.Request) (any, error) {
	var it Cart
	if err := shop.Read(r, &it); err != nil {
		return nil, err
	}
	prices, err := c.prices(r.Context(), it.Items)
	if err != nil {
		return nil, err
	}
	it.Total = 0
	for _, id := range it.Items {
		it.Total += prices[strconv.Itoa(id)]
	}
	text, err := json.Marshal(it)
	if err != nil {
		return nil, fmt.Errorf("encode cart %s: %w", it.ID, err)
	}
	if err := c.store.Set(r.Context(), "cart:"+it.ID, text, time.Hour); err != nil {
		return nil, fmt.Errorf("store cart %s: %w", it.ID, err)
	}
	c.countCarts(r.Context(), it.ID)
	return it, nil
}

// countCarts holds two bugs: statistics that nobody looks at, got by reading every key of the cache while all others
// wait, and by a command that does not fit the value's type.
func (c *cart) countCarts(ctx context.Context, id string) {
	var err error
	switch {
	case c.Fault("redis-keys"):
		err = c.store.Do(ctx, "KEYS", "cart:*")
	case c.Fault("redis-error"):
		err = c.store.Do(ctx, "HINCRBY", "cart:"+id, "seen", 1)
	}
	if err != nil {
		c.Log.Debug("carts not counted", "error", err)
	}
}

func (c *cart) show(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if c.Fault("cart-miss") { // a migration that nobody ended: the old key first
		if text, err := c.store.Get(r.Context(), "carts/"+id); err == nil {
			return json.RawMessage(text), nil
		}
	}
	text, err := c.store.Get(r.Context(), "cart:"+id)
	if errors.Is(err, redisclient.ErrAbsent) {
		return nil, shop.Fail(http.StatusNotFound, "no cart %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read cart %s: %w", id, err)
	}
	return json.RawMessage(text), nil
}

// prices asks the catalogue for all prices at once.
func (c *cart) prices(ctx context.Context, items []int) (map[string]int, error) {
	ids := make([]string, len(items))
	for i, id := range items {
		ids[i] = strconv.Itoa(id)
	}
	if !c.Fault("n-plus-one") {
		return c.ask(ctx, strings.Join(ids, ","))
	}
	all := map[string]int{}
	for _, id := range ids { // "it is only one more line, and so much simpler"
		one, err := c.ask(ctx, id)
		if err != nil {
			return nil, err
		}
		all[id] = one[id]
	}
	return all, nil
}

// ask sends one price request, at most three times: a busy catalogue is given time that grows.
func (c *cart) ask(ctx context.Context, ids string) (map[string]int, error) {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		request, err := c.catalogue.Request(ctx, "GET", "/prices?ids="+ids, nil)
		if err != nil {
			return nil, err
		}
		reply, err := c.catalogue.Send(request)
		if err != nil {
			return nil, shop.Fail(http.StatusBadGateway, "%v", err)
		}
		if reply.Status != http.StatusServiceUnavailable || attempt == attempts {
			var answer struct{ Prices map[string]int }
			err := reply.Decode("catalogue", &answer)
			return answer.Prices, err
		}
		if err := c.Work(ctx, c.pause(attempt)); err != nil {
			return nil, err
		}
	}
}
