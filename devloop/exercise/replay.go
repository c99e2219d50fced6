package exercise

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// replay sends the plan that the session made for a step, marked as all requests of the exercise are.
func (r *runner) replay(ctx context.Context, i int, s config.ReplayStep) (traffic.StepResult, error) {
	done := traffic.StepResult{Step: "replay " + s.Snapshot, Status: map[string]int{}}
	headers := map[string]string{}
	for name, text := range s.Headers {
		value, err := r.rendered("header "+name, text)
		if err != nil {
			return done, err
		}
		headers[http.CanonicalHeaderKey(name)] = value
	}
	plan := r.spec.Replays[i]
	t := r.client.Transport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.DisableCompression = max(plan.Concurrency, 1), true
	defer t.CloseIdleConnections()
	answers := replay.Send(ctx, plan, headers, marking{r, t})
	for _, a := range answers {
		done.Sent++
		if a.Status > 0 {
			done.Status[strconv.Itoa(a.Status)]++
		} else {
			done.Errors++
		}
	}
	if r.spec.Answered != nil {
		r.spec.Answered(i, answers)
	}
	if done.Errors == done.Sent {
		return done, fmt.Errorf("%s: none of %d requests got a response", done.Step, done.Sent)
	}
	return done, nil
}

// marking is a transport whose requests can be recognised as the exercise's.
type marking struct {
	runner *runner
	base   http.RoundTripper
}

// RoundTrip sends a marked copy of a request.
func (m marking) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	m.runner.mark(req)
	return m.base.RoundTrip(req)
}

// MainReplay sends the plan in the file that the arguments name, and writes what came beside it. It reports whether the arguments asked
// for that.
func MainReplay(args []string) (code int, mine bool) {
	if len(args) != 3 || args[0] != replay.Argument {
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
	var p replay.Plan
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	headers := map[string]string{}
	if given := os.Getenv(replay.HeaderVariable); given != "" {
		if err := json.Unmarshal([]byte(given), &headers); err != nil {
			return fmt.Errorf("read %s: %w", replay.HeaderVariable, err)
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.DisableCompression = nil, max(p.Concurrency, 1), true
	if via := os.Getenv(ProxyVariable); via != "" {
		u, err := url.Parse(via)
		if err != nil {
			return fmt.Errorf("read %s: %w", ProxyVariable, err)
		}
		t.Proxy = http.ProxyURL(u)
	}
	defer t.CloseIdleConnections()
	out, err := json.Marshal(replay.Send(context.Background(), p, headers, t))
	if err != nil {
		return err
	}
	return os.WriteFile(answersFile, out, 0o600)
}
