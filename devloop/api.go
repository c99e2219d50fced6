package devloop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// submit hands a request to the loop.
func (s *Session) submit(ctx context.Context, r *request) error {
	if s.options.Observe != nil {
		return looksOnly("no iteration is run")
	}
	select {
	case s.requests <- r:
		return nil
	case <-s.ended:
		return &control.Error{What: "the session ended", Exit: control.ExitInterrupt}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Iterate runs one iteration and returns when it is finished. When ctx ends, the iteration is cancelled.
func (s *Session) Iterate(ctx context.Context, r control.RunRequest, events func(control.Event)) (*traffic.Iteration, error) {
	switch r.Until {
	case "", "verdict", "build", "deploy", "exercise":
	default:
		return nil, control.Usagef("until is one of build, deploy, exercise, verdict", fmt.Sprintf("until %q is none", r.Until))
	}
	req := &request{RunRequest: r, trigger: "run", answer: make(chan answer, 1), events: events, cancel: ctx.Done()}
	if err := s.submit(ctx, req); err != nil {
		return nil, err
	}
	select {
	case a := <-req.answer:
		return a.iteration, a.err
	case <-s.ended:
		return nil, &control.Error{What: "the session ended", Exit: control.ExitInterrupt}
	}
}

// Wait returns a finished iteration: the running one when it is done, else one newer than After, else the newest.
func (s *Session) Wait(ctx context.Context, r control.WaitRequest, events func(control.Event)) (*traffic.Iteration, error) {
	if err := s.sync(ctx); err != nil {
		return nil, err
	}
	wake := make(chan struct{}, 1)
	defer s.Listen(func(e control.Event) {
		if events != nil {
			events(e)
		}
		if e.Iteration != nil && e.Iteration.State != "running" {
			select {
			case wake <- struct{}{}:
			default:
			}
		}
	})()
	for {
		it, err := s.settled(r.After)
		if it != nil || err != nil {
			return it, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-s.ended:
			return nil, &control.Error{What: "the session ended", Exit: control.ExitInterrupt}
		}
	}
}

// sync returns when every save before the call is noted.
func (s *Session) sync(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case s.syncs <- done:
		<-done
		return nil
	case <-s.ended:
		return &control.Error{What: "the session ended", Exit: control.ExitInterrupt}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settled is the newest finished iteration when nothing runs and nothing is stale, or, with after, when it is newer. The
// error says why there never will be one.
func (s *Session) settled(after string) (*traffic.Iteration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var newest *traffic.Iteration
	if len(s.recent) > 0 {
		newest = s.recent[len(s.recent)-1]
	}
	switch {
	case newest != nil && after != "" && number(newest.ID) > number(after):
		return newest, nil
	case newest != nil && after == "" && s.current == nil && !s.queued && (len(s.stale) == 0 || newest.State == "failed"):
		return newest, nil
	case s.current == nil && !s.queued && !s.follow && (newest == nil || len(s.stale) > 0):
		return nil, &control.Error{What: "nothing runs that could end in a verdict: saves do not start iterations here", Hint: "devloop run, or devloop up to follow saves", Exit: control.ExitUsage}
	}
	return nil, nil
}

// Status says what runs and where the loop stands.
func (s *Session) Status() *control.Status {
	files, _ := s.checkFiles() // a bad glob is told by the next iteration
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &control.Status{
		Version: s.version, Workspace: s.workspace, PID: os.Getpid(), StartedNS: s.started.UnixNano(), Environment: "local",
		Phase: "idle", Exercises: slices.Sorted(maps.Keys(s.cfg.Exercises)), Stale: slices.Sorted(maps.Keys(s.stale)),
		Services: []control.ServiceStatus{}, Checks: []string{},
	}
	for _, f := range files {
		if rel, err := filepath.Rel(s.workspace, f); err == nil {
			st.Checks = append(st.Checks, filepath.ToSlash(rel))
		}
	}
	if len(s.recent) > 0 {
		last := *s.recent[len(s.recent)-1]
		st.Last = &last
	}
	if s.current != nil {
		current := *s.current
		current.Ledger = slices.Clone(current.Ledger)
		st.Current, st.Phase = &current, current.Phase
	}
	if s.env != nil {
		st.Running, st.Warnings = true, append(s.env.Warnings(), faultWarnings(s.env, time.Now())...)
		st.Mode, st.ModeWhy = s.env.Mode()
		st.Environment = s.env.Name()
		st.Source = s.wire.sourceName()
		if s.wire != nil {
			st.SourceWhy = s.wire.why
		} else if s.blind != nil {
			st.SourceWhy = s.blind.why
		}
		if len(s.served) > 0 {
			st.Revision = fmt.Sprintf("r%d", s.state.Revision)
		}
	}
	st.Services = s.services()
	return st
}

// services lists all services and dependencies, running or not. The caller holds the lock.
func (s *Session) services() []control.ServiceStatus {
	list := []control.ServiceStatus{}
	seen := map[string]bool{}
	if s.env != nil {
		for _, st := range s.env.Running() {
			seen[st.Name] = true
			st.Outside = s.cfg.Services[st.Name].Outside
			list = append(list, st)
		}
	}
	for name, service := range s.cfg.Services {
		if !seen[name] {
			list = append(list, control.ServiceStatus{Name: name, Kind: traffic.KindService, State: "stopped", Ports: service.Ports, Outside: service.Outside})
		}
	}
	for name, d := range s.cfg.Dependencies {
		if !seen[name] {
			list = append(list, control.ServiceStatus{Name: name, Kind: traffic.KindDependency, State: "stopped", Ports: d.Ports})
		}
	}
	for i, st := range list {
		if j := slices.IndexFunc(s.crashes, func(c crash) bool { return c.service == st.Name }); j >= 0 && st.State == "stopped" {
			list[i].State, list[i].Detail = "crashed", s.crashes[j].what
		}
	}
	slices.SortFunc(list, func(a, b control.ServiceStatus) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Verdict returns a finished iteration.
func (s *Session) Verdict(r control.IterationRequest) (*traffic.Iteration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.recent) == 0 {
		return nil, control.Missing("devloop run", "no iteration has finished yet")
	}
	if r.Iteration == "" {
		return s.recent[len(s.recent)-1], nil
	}
	for _, it := range s.recent {
		if it.ID == r.Iteration {
			return it, nil
		}
	}
	return nil, control.Missing("leave the iteration out for the newest", fmt.Sprintf("no iteration %q is kept; the newest is %s", r.Iteration, s.recent[len(s.recent)-1].ID))
}

// sealed returns a finished iteration that has traffic; the newest such one when id is empty.
func (s *Session) sealed(id string) (*traffic.Iteration, error) {
	if id != "" {
		it, err := s.Verdict(control.IterationRequest{Iteration: id})
		if err == nil && it.Snapshot == "" {
			err = &control.Error{What: fmt.Sprintf("iteration %s has no traffic: it ended in phase %s", id, it.Phase), Hint: "devloop run", Exit: control.ExitUsage}
		}
		return it, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range slices.Backward(s.recent) {
		if it.Snapshot != "" {
			return it, nil
		}
	}
	return nil, &control.Error{What: "no traffic has been sealed yet", Hint: "devloop run", Exit: control.ExitUsage}
}

// Judge judges the traffic of a finished iteration again, with the check files as they are now.
func (s *Session) Judge(r control.IterationRequest) (*traffic.Iteration, error) {
	it, err := s.sealed(r.Iteration)
	if err != nil {
		return nil, err
	}
	suite, err := s.loadChecks()
	if err != nil {
		return nil, &control.Error{What: err.Error(), Exit: control.ExitUsage}
	}
	d, began, ended, err := s.dissection(it)
	if err != nil {
		return nil, err
	}
	again := *it
	s.judge(&again, suite, d, began, ended, control.RunRequest{AllowInconclusive: r.Allow})
	return &again, nil
}
