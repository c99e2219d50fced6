// Package redisclient opens the shop's Redis client.
package redisclient

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// Open connects to the Redis of CACHE_ADDR and waits for a server that is still starting.
func Open(ctx context.Context, s *shop.Service) (*redis.Client, error) {
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
	return client, nil
}
