package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/devloop-io/devloop/devloop/exercise"
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

// Main sends the plan in the file that the arguments name, and writes what came beside it. It reports whether the arguments asked
// for that.
func Main(args []string) (code int, mine bool) {
	if len(args) != 3 || args[0] != Argument {
		return 0, false
	}
	if err := sendFile(args[1], args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		return 1, true
	}
	return 0, true
}

func sendFile(planFile, answersFile string) error {
	data, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	var p Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	headers := map[string]string{}
	if given := os.Getenv(HeaderVariable); given != "" {
		if err := json.Unmarshal([]byte(given), &headers); err != nil {
			return fmt.Errorf("read %s: %w", HeaderVariable, err)
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.DisableCompression = nil, max(p.Concurrency, 1), true
	if via := os.Getenv(exercise.ProxyVariable); via != "" {
		u, err := url.Parse(via)
		if err != nil {
			return fmt.Errorf("read %s: %w", exercise.ProxyVariable, err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	defer t.CloseIdleConnections()
	out, err := json.Marshal(Send(context.Background(), p, headers, t))
	if err != nil {
		return err
	}
	return os.WriteFile(answersFile, out, 0o600)
}

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
