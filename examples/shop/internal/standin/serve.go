package standin

import (
	"context"
	"errors"
	"net"
	"sync"
)

// Serve accepts connections and lets handle speak on each, until ctx ends.
func Serve(ctx context.Context, l net.Listener, handle func(net.Conn)) error {
	var (
		mu      sync.Mutex
		open    = map[net.Conn]bool{}
		serving sync.WaitGroup
	)
	stop := context.AfterFunc(ctx, func() {
		l.Close()
		mu.Lock()
		defer mu.Unlock()
		for c := range open {
			c.Close()
		}
	})
	defer stop()
	defer serving.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		mu.Lock()
		open[c] = true
		if ctx.Err() != nil {
			c.Close()
		}
		mu.Unlock()
		serving.Go(func() {
			handle(c)
			c.Close()
			mu.Lock()
			delete(open, c)
			mu.Unlock()
		})
	}
}
