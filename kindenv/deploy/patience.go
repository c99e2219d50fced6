package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Bounds of trying again while the API server does not answer.
const (
	outageBound  = 30 * time.Second // from the first failure on
	outageWait   = 250 * time.Millisecond
	outageSay    = time.Second      // when it is said
	answerWithin = 15 * time.Second // until an answer begins
)

// UnreachableError says that the API server did not answer for half a minute.
type UnreachableError struct {
	Server string
	For    time.Duration
	Err    error
}

// Error is the sentence.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the cluster's API server at %s has not answered for %.0f s: %v\nhint: devloop cluster status", e.Server, e.For.Seconds(), e.Err)
}

// Unwrap is what the last attempt ended with.
func (e *UnreachableError) Unwrap() error { return e.Err }

// patient sends requests again while nobody answers. All requests of a Deployer may be sent twice: they read, delete by
// name, or apply.
type patient struct {
	next http.RoundTripper
	say  func(format string, args ...any)
}

func (d *Deployer) patiently(next http.RoundTripper) http.RoundTripper { return &patient{next, d.say} }

// RoundTrip sends a request until it is answered, for at most half a minute.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	var began time.Time
	said := false
	for attempt := r; ; {
		answer, err := p.send(attempt)
		if err == nil && answer.StatusCode != http.StatusServiceUnavailable && answer.StatusCode != http.StatusBadGateway {
			if said {
				p.say("the cluster's API server answers again")
			}
			return answer, nil
		}
		if r.Context().Err() != nil || r.Body != nil && r.GetBody == nil {
			return answer, err
		}
		if err == nil {
			err = errors.New(answer.Status)
			answer.Body.Close()
		}
		if began.IsZero() {
			began = time.Now()
		}
		out := time.Since(began)
		if out >= outageBound {
			return nil, &UnreachableError{Server: r.URL.Host, For: out, Err: err}
		}
		if !said && out >= outageSay {
			said = true
			p.say("the cluster's API server at %s does not answer (%v): trying again for %.0f s", r.URL.Host, err, outageBound.Seconds())
		}
		select {
		case <-time.After(outageWait):
		case <-r.Context().Done():
			return nil, &UnreachableError{Server: r.URL.Host, For: time.Since(began), Err: err}
		}
		attempt = r.Clone(r.Context())
		if r.GetBody != nil {
			if attempt.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// send is one attempt; it ends when no answer begins in time.
func (p *patient) send(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	late := time.AfterFunc(answerWithin, func() { cancel(fmt.Errorf("no answer within %s", answerWithin)) })
	answer, err := p.next.RoundTrip(r.WithContext(ctx))
	if !late.Stop() && err != nil && r.Context().Err() == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	answer.Body = &ending{answer.Body, func() { cancel(nil) }}
	return answer, nil
}

// warnings says what the API server warns of, each once.
type warnings struct {
	say  func(format string, args ...any)
	said sync.Map
}

// HandleWarningHeader is how client-go tells.
func (w *warnings) HandleWarningHeader(code int, _, text string) {
	const warning = 299 // RFC 7234, 5.5.7: miscellaneous persistent warning
	if _, before := w.said.LoadOrStore(text, true); code == warning && !before {
		w.say("the cluster warns: %s", cut(text))
	}
}

// ending frees what an attempt holds when its answer has been read.
type ending struct {
	io.ReadCloser
	end func()
}

func (e *ending) Close() error {
	err := e.ReadCloser.Close()
	e.end()
	return err
}
