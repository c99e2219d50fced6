// Package redisclient opens the shop's Redis client.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// ErrAbsent says that there is no value of a key.
var ErrAbsent = errors.New("no such key")

// Store is what the shop does with Redis. It names the client's type nowhere on purpose: whatever does compiles its
// hundreds of methods anew, which is most of a save's build.
type Store struct {
	// Get reads a key; [ErrAbsent] where there is none.
	Get func(ctx context.Context, key string) ([]byte, error)
	// Do sends any other command.
	Do func(ctx context.Context, words ...any) error
	// Set writes a key that lives for a while.
	Set func(ctx context.Context, key string, value []byte, life time.Duration) error
}

// Open connects to the Redis of CACHE_ADDR and waits for a server that is still starting.
func Open(ctx context.Context, s *shop.Service) (*Store, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second, Resolver: s.Resolver}
	client := redis.NewClient(&redis.Options{
		Addr:            s.Env("CACHE_ADDR", "cache:6379"),
		Protocol:        2,
		DisableIdentity: true,
		PoolSize:        8,
		MinIdleConns:    4,
		Dialer: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		},
	})
	if err := shop.Eventually(ctx, 20*time.Second, func() error { return client.Ping(ctx).Err() }); err != nil {
		client.Close()
		return nil, fmt.Errorf("reach the cache: %w", err)
	}
	context.AfterFunc(ctx, func() { client.Close() })
	return &Store{
		Get: func(ctx context.Context, key string) ([]byte, error) {
			text, err := client.Get(ctx, key).Bytes()
			if errors.Is(err, redis.Nil) {
				return nil, ErrAbsent
			}
			return text, err
		},
		Do: func(ctx context.Context, words ...any) error { return client.Do(ctx, words...).Err() },
		Set: func(ctx context.Context, key string, value []byte, life time.Duration) error {
			return client.Set(ctx, key, value, life).Err()
		},
	}, nil
}
