package mcp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// watchEvery is how often resources that somebody has subscribed to are looked at.
const watchEvery = time.Second

// watcher tells subscribers when a resource has changed. It looks only while there are some.
type watcher struct {
	server *mcp.Server
	tools  *tools
	every  time.Duration

	mu      sync.Mutex
	watched map[string]*watched
	cancel  context.CancelFunc // of the goroutine that looks, nil where there is none
	wg      sync.WaitGroup
}

// watched is one resource, and who has subscribed to it.
type watched struct {
	mark     string
	sessions []*mcp.ServerSession
}

func (w *watcher) subscribe(ctx context.Context, r *mcp.SubscribeRequest) error {
	_, mark, err := w.tools.read(ctx, r.Params.URI)
	if err != nil {
		return refusal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched == nil {
		w.watched = map[string]*watched{}
	}
	it := w.watched[r.Params.URI]
	if it == nil {
		it = &watched{mark: mark}
		w.watched[r.Params.URI] = it
	}
	it.sessions = append(it.sessions, r.Session)
	if w.cancel == nil {
		looking, cancel := context.WithCancel(context.WithoutCancel(ctx))
		w.cancel = cancel
		w.wg.Go(func() { w.look(looking) })
	}
	return nil
}

func (w *watcher) unsubscribe(_ context.Context, r *mcp.UnsubscribeRequest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if it := w.watched[r.Params.URI]; it != nil {
		if i := slices.Index(it.sessions, r.Session); i >= 0 {
			it.sessions = slices.Delete(it.sessions, i, i+1)
		}
	}
	return nil
}

// look reads what is watched until nobody watches any more.
func (w *watcher) look(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		uris := w.living()
		if len(uris) == 0 {
			return
		}
		for _, uri := range uris {
			_, mark, err := w.tools.read(ctx, uri)
			if err == nil && w.changed(uri, mark) {
				_ = w.server.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: uri}) // it never fails
			}
		}
	}
}

// living are the resources whose subscribers are still there. When there are none the goroutine that asks is over.
func (w *watcher) living() []string {
	there := slices.Collect(w.server.Sessions())
	w.mu.Lock()
	defer w.mu.Unlock()
	var uris []string
	for uri, it := range w.watched {
		it.sessions = slices.DeleteFunc(it.sessions, func(s *mcp.ServerSession) bool { return !slices.Contains(there, s) })
		if len(it.sessions) == 0 {
			delete(w.watched, uri)
			continue
		}
		uris = append(uris, uri)
	}
	if len(uris) == 0 {
		w.cancel()
		w.cancel = nil
	}
	slices.Sort(uris)
	return uris
}

func (w *watcher) changed(uri, mark string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	it := w.watched[uri]
	if it == nil || it.mark == mark {
		return false
	}
	it.mark = mark
	return true
}

// close ends the looking.
func (w *watcher) close() {
	w.mu.Lock()
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.wg.Wait()
}
