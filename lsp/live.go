package lsp

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// facts are what the daemon knows of the wire, as of the newest finished iteration.
type facts struct {
	connected bool
	status    *control.Status
	iteration *traffic.Iteration // the newest that was judged
	running   *traffic.Iteration // the one that runs, as its newest event has it
	endpoints []query.Stats      // of its traffic
	since     time.Time          // when they were asked for
}

const (
	lookEvery   = 2 * time.Second // for a daemon, while none runs
	endpointMax = 500
)

// live keeps the facts current for as long as the server runs.
type live struct {
	connect func(context.Context) (*control.Client, error)
	changed func() // called after every change, from one goroutine
	moved   func() // called when an iteration begins a phase; may be nil

	mu     sync.Mutex
	facts  facts
	client *control.Client
}

func (l *live) get() facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.facts
}

// daemon is the client to ask, nil without a daemon.
func (l *live) daemon() *control.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

func (l *live) set(c *control.Client, f facts) {
	l.mu.Lock()
	l.client, l.facts = c, f
	l.mu.Unlock()
	l.changed()
}

// watch follows the daemon, comes it and goes it as it may, until ctx ends.
func (l *live) watch(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if c, err := l.connect(ctx); err == nil {
			l.follow(ctx, c)
			if ctx.Err() == nil {
				last := l.get()
				last.connected, last.running = false, nil
				l.set(nil, last) // what was seen stays seen, and is old now
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// follow asks for the facts now and after each iteration, until the daemon goes away.
func (l *live) follow(ctx context.Context, c *control.Client) {
	ctx, cancel := context.WithCancel(ctx)
	news := make(chan struct{}, 1)
	news <- struct{}{}
	ended := make(chan struct{})
	defer func() {
		cancel()
		<-ended
	}()
	go func() {
		defer close(ended)
		_ = c.Events(ctx, func(e control.Event) {
			if e.Iteration == nil {
				return
			}
			if e.Iteration.State == "running" {
				l.phase(e.Iteration)
				return
			}
			select {
			case news <- struct{}{}:
			default:
			}
		})
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-news:
			f, err := ask(ctx, c, l.get())
			if err != nil {
				return // watch begins again
			}
			l.set(c, f)
		}
	}
}

// judged is the newest iteration that came to a verdict, for an editor that is opened after one that did not.
func judged(ctx context.Context, c *control.Client, newest *traffic.Iteration) *traffic.Iteration {
	kept, err := control.ListIterations.Ask(ctx, c, control.IterationsRequest{}, nil)
	if err != nil {
		return newest
	}
	for _, it := range kept.Iterations {
		if len(it.Verdicts) == 0 {
			continue
		}
		if whole, err := c.Verdict(ctx, control.IterationRequest{Iteration: it.ID}); err == nil && len(whole.Checks) > 0 {
			return whole
		}
	}
	return newest
}

// phase notes how far the running iteration is.
func (l *live) phase(it *traffic.Iteration) {
	l.mu.Lock()
	same := l.facts.running != nil && l.facts.running.ID == it.ID && l.facts.running.Phase == it.Phase
	l.facts.running = it
	l.mu.Unlock()
	if !same && l.moved != nil {
		l.moved()
	}
}

// ask collects the facts. A workspace whose loop never turned has a status and no more; an iteration that did not come to a
// verdict, because something did not build, leaves the one before it standing.
func ask(ctx context.Context, c *control.Client, last facts) (facts, error) {
	status, err := c.Status(ctx)
	if err != nil {
		return facts{}, err
	}
	f := facts{connected: true, status: status, since: time.Now()}
	f.iteration, err = c.Verdict(ctx, control.IterationRequest{})
	if err != nil {
		f.iteration = nil
		return f, nil
	}
	if len(f.iteration.Checks) == 0 {
		if last.iteration != nil {
			f.iteration, f.endpoints = last.iteration, last.endpoints
			return f, nil
		}
		f.iteration = judged(ctx, c, f.iteration)
	}
	if stats, err := control.GetAPIStats.Ask(ctx, c, query.StatsRequest{
		Selection: query.Selection{Scope: query.Scope{Snapshot: f.iteration.ID}}, GroupBy: "endpoint", Limit: endpointMax}, nil); err == nil {
		f.endpoints = stats.Stats
	}
	return f, nil
}

// services are the names that were seen or are configured.
func (f *facts) services() []string {
	var names []string
	if f.status != nil {
		for _, s := range f.status.Services {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// results are those of a check of a file, newest iteration.
func (f *facts) results(file, name string) []traffic.CheckResult {
	if f.iteration == nil {
		return nil
	}
	var list []traffic.CheckResult
	for _, r := range f.iteration.Checks {
		if !r.Builtin && r.Name == name && (file == "" || r.File == file) {
			list = append(list, r)
		}
	}
	return list
}
