package replay

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// Argument is the word that makes devloop's program send a plan: it is for the session alone.
const Argument = "replay-driver"

// HeaderVariable names the environment variable with the headers that the user gives, as a JSON object. They are in no file.
const HeaderVariable = "DEVLOOP_REPLAY_HEADERS"

// Answer is what came.
type Answer struct {
	ID      string           `json:"id"`
	Status  int              `json:"status"` // 0 without an answer
	Error   string           `json:"error,omitempty"`
	Headers []traffic.Header `json:"headers,omitempty"`
	Body    []byte           `json:"body,omitempty"`
	Cut     bool             `json:"cut,omitempty"`
	NS      int64            `json:"ns"`
}

const (
	mostBody    = 1 << 20
	mostWaiting = 30 * time.Second
)

// Send sends a plan's requests when they are due, never more at once than it says, and returns the answers in its order.
func Send(ctx context.Context, p Plan, headers map[string]string, t http.RoundTripper) []Answer {
	answers := make([]Answer, len(p.Requests))
	due := make(chan int)
	var wg sync.WaitGroup
	for range max(1, min(p.Concurrency, len(p.Requests))) {
		wg.Go(func() {
			for i := range due {
				answers[i] = send(ctx, p.Requests[i], headers, t)
			}
		})
	}
	began := time.Now()
	for i, r := range p.Requests {
		if rest := time.Duration(float64(r.At)*p.Factor) - time.Since(began); rest > 0 {
			select {
			case <-time.After(rest):
			case <-ctx.Done():
			}
		}
		due <- i
	}
	close(due)
	wg.Wait()
	return answers
}

func send(ctx context.Context, r Request, headers map[string]string, t http.RoundTripper) Answer {
	a := Answer{ID: r.ID}
	ctx, cancel := context.WithTimeout(ctx, mostWaiting)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		a.Error = err.Error()
		return a
	}
	req.Host = r.Host
	for _, h := range r.Headers {
		req.Header.Add(h.Name, h.Value)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	began := time.Now()
	resp, err := t.RoundTrip(req) // redirects are answers, too
	if err != nil {
		a.Error = err.Error()
		return a
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostBody+1))
	a.NS, a.Status = time.Since(began).Nanoseconds(), resp.StatusCode
	if err != nil {
		a.Error = err.Error()
	}
	if a.Body = body; len(body) > mostBody {
		a.Body, a.Cut = body[:mostBody], true
	}
	for _, name := range matter {
		for _, v := range resp.Header.Values(name) {
			a.Headers = append(a.Headers, traffic.Header{Name: name, Value: v})
		}
	}
	return a
}
