// Package catalogue is the service that knows goods and prices: from PostgreSQL, through a cache in Redis.
package catalogue

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
	"github.com/devloop-io/devloop/examples/shop/internal/redisclient"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

type catalogue struct {
	*shop.Service
	db    *pgxpool.Pool
	cache *redisclient.Store
	busy  *busy
}

// New makes the service: it creates its table, fills it and warms the cache.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	db, err := database.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	if err := database.Seed(ctx, db); err != nil {
		return nil, err
	}
	cache, err := redisclient.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &catalogue{Service: s, db: db, cache: cache, busy: newBusy()}
	if _, _, err := c.items(ctx); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /items", shop.Handle(c.list))
	mux.Handle("GET /prices", shop.Handle(c.prices))
	return mux, nil
}

// list answers the whole catalogue; it changes rarely and may be cached.
func (c *catalogue) list(r *http.Request) (any, error) {
	items, hit, err := c.items(r.Context())
	if err != nil {
		return nil, err
	}
	answer := shop.Answer{Status: http.StatusOK, Header: map[string]string{"X-Cache": "miss"}, Body: map[string]any{"items": items}}
	if hit {
		answer.Header["X-Cache"] = "hit"
	}
	if !c.Fault("cache-miss") {
		answer.Header["Cache-Control"] = "public, max-age=60"
	}
	if c.Fault("field-changed") {
		answer.Body = map[string]any{"items": renamed(items)}
	}
	return answer, c.Work(r.Context(), 500*time.Microsecond)
}

// renamed is the catalogue after somebody found "amount" the better word for a price.
func renamed(items []database.Item) []map[string]any {
	list := make([]map[string]any, len(items))
	for i, item := range items {
		list[i] = map[string]any{"id": item.ID, "name": item.Name, "amount": item.Price}
	}
	return list
}

// prices answers the prices of some items. Now and then it is busy, as real ones are, and says so.
func (c *catalogue) prices(r *http.Request) (any, error) {
	if c.busy.refuses(shop.From(r.Context()).RequestID) {
		return shop.Answer{Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "0"},
			Body: map[string]string{"error": "busy, try again"}}, nil
	}
	items, _, err := c.items(r.Context())
	if err != nil {
		return nil, err
	}
	prices := map[string]int32{}
	for id := range strings.SplitSeq(r.URL.Query().Get("ids"), ",") {
		for _, item := range items {
			if strconv.Itoa(int(item.ID)) == id {
				prices[id] = item.Price
			}
		}
	}
	return map[string]any{"prices": prices}, c.Work(r.Context(), 300*time.Microsecond)
}

// items reads the catalogue from the cache, and from the database when it is not there; hit says which.
func (c *catalogue) items(ctx context.Context) (items []database.Item, hit bool, err error) {
	if c.Fault("dns-flood") {
		c.lookUp(ctx)
	}
	key := "catalogue:items"
	if c.Fault("cache-miss") {
		key += ":" + shop.From(ctx).RequestID // a key that no other request asks for
	}
	if text, err := c.cache.Get(ctx, key); err == nil && json.Unmarshal(text, &items) == nil {
		return items, true, nil
	}
	if items, err = database.Items(ctx, c.db); err != nil {
		return nil, false, err
	}
	text, err := json.Marshal(items)
	if err == nil {
		err = c.cache.Set(ctx, key, text, 10*time.Minute)
	}
	if err != nil {
		c.Log.Warn("catalogue not cached", "error", err)
	}
	return items, false, nil
}

// lookUp asks for the cache's address on every request, and by a name that a search list as Kubernetes gives it
// (ndots:5) expands first: three NXDOMAIN answers before the one that counts.
func (c *catalogue) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.Scale(100*time.Millisecond))
	defer cancel()
	for _, suffix := range []string{".shop.svc.cluster.local.", ".svc.cluster.local.", ".cluster.local.", "."} {
		if _, err := c.Resolver.LookupNetIP(ctx, "ip4", "cache.shop.svc.cluster.local"+suffix); err == nil {
			return
		}
	}
}
