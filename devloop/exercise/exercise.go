package exercise

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// The header and baggage key that carry the iteration's ID.
const (
	IterationHeader  = "Devloop-Iteration"
	IterationBaggage = "devloop.iteration"
)

// ProxyVariable names the environment variable with the proxy through which the services are reached, as a URL.
const ProxyVariable = "DEVLOOP_PROXY"

const (
	defaultTimeout        = 2 * time.Minute
	defaultRequestTimeout = 30 * time.Second
	outputTail            = 16 << 10
	maxSaved              = 1 << 20 // of a response whose values are saved
)

// Spec is what one run of an exercise needs to know.
type Spec struct {
	Name      string          `json:"name"`
	Iteration string          `json:"iteration"`
	Dir       string          `json:"dir"` // working directory of commands
	Exercise  config.Exercise `json:"exercise"`

	Replays  map[int]replay.Plan                     `json:"replays,omitempty"` // what replay steps send, by the step's index
	Answered func(step int, answers []replay.Answer) `json:"-"`                 // is told what they were answered, where it is set
}

// Run runs the steps in order and stops at the first that fails. Output of commands goes to output as it comes. The
// error is set when a step could not be run or a status was not the expected one; the result is set either way.
func Run(ctx context.Context, spec Spec, output io.Writer) (traffic.ExerciseResult, error) {
	timeout := time.Duration(spec.Exercise.Timeout)
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("exercise %s took longer than its timeout of %s", spec.Name, timeout))
	defer cancel()
	result := traffic.ExerciseResult{Name: spec.Name}
	r := runner{spec: spec, output: output, saved: map[string]string{}, client: newClient(spec.Exercise)}
	defer r.client.CloseIdleConnections()
	for i, step := range spec.Exercise.Steps {
		began := time.Now()
		done, err := r.step(ctx, i, step)
		done.NS = time.Since(began).Nanoseconds()
		result.Steps = append(result.Steps, done)
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			result.ExitCode = max(1, done.ExitCode)
			return result, fmt.Errorf("step %d of exercise %s: %w", i+1, spec.Name, err)
		}
	}
	return result, nil
}

type runner struct {
	spec   Spec
	output io.Writer
	client *http.Client
	saved  map[string]string // from earlier steps' responses
}

// newClient keeps as many connections as the busiest step uses, as a browser or a load balancer would.
func newClient(e config.Exercise) *http.Client {
	busiest := 1
	for _, s := range e.Steps {
		if s.HTTP != nil {
			busiest = max(busiest, s.HTTP.Concurrency)
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy, t.MaxIdleConnsPerHost, t.MaxIdleConns = proxy(os.Getenv(ProxyVariable)), busiest, 0
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// proxy is the way into the services' network where this process is not in it. The proxies of the machine's own
// environment are for other addresses.
func proxy(address string) func(*http.Request) (*url.URL, error) {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	return func(*http.Request) (*url.URL, error) { return u, err }
}

func (r *runner) step(ctx context.Context, i int, s config.Step) (traffic.StepResult, error) {
	switch {
	case s.HTTP != nil:
		return r.http(ctx, *s.HTTP)
	case s.Replay != nil:
		return r.replay(ctx, i, *s.Replay)
	case s.Run != "":
		return r.command(ctx, s.Run)
	case s.Wait > 0:
		return traffic.StepResult{Step: "wait " + time.Duration(s.Wait).String()}, wait(ctx, time.Duration(s.Wait))
	}
	return traffic.StepResult{Step: "nothing"}, errors.New("the step has none of http, replay, run and wait")
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *runner) command(ctx context.Context, line string) (traffic.StepResult, error) {
	done := traffic.StepResult{Step: "run " + line}
	words, err := config.SplitWords(line)
	if err != nil || len(words) == 0 {
		return done, fmt.Errorf("split the command %q: %w", line, err)
	}
	tail := &Tail{Max: outputTail}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Stdout = r.spec.Dir, io.MultiWriter(r.output, tail)
	cmd.Stderr = cmd.Stdout
	cmd.Env = append(os.Environ(), "DEVLOOP_ITERATION="+r.spec.Iteration)
	err = cmd.Run()
	done.Output, done.ExitCode = tail.String(), cmd.ProcessState.ExitCode()
	if err != nil {
		done.ExitCode = max(1, done.ExitCode)
		return done, fmt.Errorf("%s: %w", line, err)
	}
	return done, nil
}

// Tail keeps the last Max bytes that were written to it.
type Tail struct {
	Max int
	mu  sync.Mutex
	b   []byte
}

// Write never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - t.Max; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

// String is what was kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// http sends a step's requests with its concurrency. What the services answer is for the checks to judge; a request
// that got no response is counted, and only an unexpected status (where one is expected) fails the step.
func (r *runner) http(ctx context.Context, s config.HTTPStep) (traffic.StepResult, error) {
	method := s.Method
	if method == "" {
		method = http.MethodGet
	}
	done := traffic.StepResult{Step: method + " " + s.URL, Status: map[string]int{}}
	t, err := parseTemplates(s)
	if err != nil {
		return done, err
	}
	repeat, concurrency := max(1, s.Repeat), max(1, s.Concurrency)
	numbers := make(chan int)
	var (
		mu    sync.Mutex
		first error
		saved = map[string]string{} // merged when no request of this step reads r.saved any more
		wg    sync.WaitGroup
	)
	for range min(concurrency, repeat) {
		wg.Go(func() {
			for n := range numbers {
				status, values, err := r.request(ctx, method, s, t, n)
				mu.Lock()
				done.Sent++
				if status > 0 {
					done.Status[fmt.Sprint(status)]++
				} else {
					done.Errors++
				}
				maps.Copy(saved, values)
				if err != nil && first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	for n := 0; n < repeat && ctx.Err() == nil; n++ {
		numbers <- n
	}
	close(numbers)
	wg.Wait()
	maps.Copy(r.saved, saved)
	if done.Errors == done.Sent && first == nil && done.Sent > 0 {
		first = fmt.Errorf("%s: none of %d requests got a response", done.Step, done.Sent)
	}
	return done, first
}

// request sends one request. Its error means that the exercise cannot go on, not that the service did badly.
func (r *runner) request(ctx context.Context, method string, s config.HTTPStep, t *templates, n int) (int, map[string]string, error) {
	url, headers, body, err := t.render(r.data(n))
	if err != nil {
		return 0, nil, err
	}
	timeout := time.Duration(s.Timeout)
	if timeout <= 0 {
		timeout = defaultRequestTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.mark(req)
	req.Header.Set("User-Agent", "devloop-exercise")
	for name, value := range headers {
		req.Header.Set(name, value)
		if http.CanonicalHeaderKey(name) == "Host" {
			req.Host = value
		}
	}
	if len(body) > 0 && req.Header.Get("Content-Type") == "" && json.Valid(body) {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, nil //nolint:nilerr // counted as an error of the step; the checks see the connection
	}
	defer resp.Body.Close()
	saved, err := save(resp.Body, s.Save)
	if s.ExpectStatus != 0 && resp.StatusCode != s.ExpectStatus {
		err = fmt.Errorf("%s %s answered %d, expected %d", method, url, resp.StatusCode, s.ExpectStatus)
	}
	return resp.StatusCode, saved, err
}

// mark adds what lets the caused calls be recognised.
func (r *runner) mark(req *http.Request) {
	var id [24]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	req.Header.Set("Traceparent", "00-"+hex.EncodeToString(id[:16])+"-"+hex.EncodeToString(id[16:])+"-01")
	req.Header.Set(IterationHeader, r.spec.Iteration)
	req.Header.Set("Baggage", IterationBaggage+"="+r.spec.Iteration)
}

// save reads the whole response, so that its connection is used again, and takes values out of its JSON.
func save(body io.Reader, want map[string]string) (map[string]string, error) {
	if len(want) == 0 {
		_, _ = io.Copy(io.Discard, body)
		return nil, nil
	}
	b, _ := io.ReadAll(io.LimitReader(body, maxSaved))
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, fmt.Errorf("save values of the response: it is no JSON object: %w", err)
	}
	saved := map[string]string{}
	for name, key := range want {
		v, ok := object[key]
		if !ok {
			return nil, fmt.Errorf("save %s: the response has no key %q", name, key)
		}
		saved[name] = fmt.Sprint(v)
	}
	return saved, nil
}

type templateData struct {
	N         int
	Iteration string
	Saved     map[string]string
}

// data is what a request's templates see: a step reads what earlier steps saved.
func (r *runner) data(n int) templateData {
	return templateData{N: n, Iteration: r.spec.Iteration, Saved: r.saved}
}

type templates struct {
	url, body *template.Template
	headers   map[string]*template.Template
}

func parseTemplates(s config.HTTPStep) (*templates, error) {
	t := &templates{headers: map[string]*template.Template{}}
	var err error
	if t.url, err = parse("url", s.URL); err != nil {
		return nil, err
	}
	if t.body, err = parse("body", s.Body); err != nil {
		return nil, err
	}
	for name, value := range s.Headers {
		if t.headers[name], err = parse("header "+name, value); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// rendered is a text of a step that is rendered once.
func (r *runner) rendered(name, text string) (string, error) {
	t, err := parse(name, text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, r.data(0))
	return b.String(), err
}

func parse(name, text string) (*template.Template, error) {
	return template.New(name).Option("missingkey=error").Parse(text)
}

func (t *templates) render(d templateData) (url string, headers map[string]string, body []byte, err error) {
	var b bytes.Buffer
	if err := t.url.Execute(&b, d); err != nil {
		return "", nil, nil, err
	}
	url = b.String()
	headers = map[string]string{}
	for name, h := range t.headers {
		b.Reset()
		if err := h.Execute(&b, d); err != nil {
			return "", nil, nil, err
		}
		headers[name] = b.String()
	}
	var out bytes.Buffer
	if err := t.body.Execute(&out, d); err != nil {
		return "", nil, nil, err
	}
	return url, headers, out.Bytes(), nil
}
