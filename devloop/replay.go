package devloop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

const (
	replayConcurrency = 8
	mostConcurrency   = 256
	mostReplayed      = 20_000
	replayedByDefault = `http && parent == "" && !background && !egress`
)

// Replay sends recorded requests in an iteration of the present code, from where exercises send theirs, and compares the answers.
func (s *Session) Replay(ctx context.Context, r control.ReplayRequest, tell func(control.Event)) (*control.ReplayAnswer, error) {
	plan, recorded, a, err := s.planned(r)
	if err != nil {
		return nil, err
	}
	if len(plan.Requests) == 0 {
		a.Verdict, a.ExitCode = traffic.Inconclusive, control.ExitInconclusive
		return a, nil
	}
	folder, err := os.MkdirTemp(s.store.Dir(), "replay-")
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	defer os.RemoveAll(folder)
	it, err := s.sendPlan(ctx, r, plan, folder, tell)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(folder, "answers.json"))
	if err != nil {
		return nil, fmt.Errorf("read what was answered: %w", err)
	}
	var answers []replay.Answer
	if err := json.Unmarshal(data, &answers); err != nil || len(answers) != len(plan.Requests) {
		return nil, fmt.Errorf("read what was answered: %d answers to %d requests: %w", len(answers), len(plan.Requests), cmp.Or(err, errors.New("some are missing")))
	}
	a.Compared = replay.Compare(recorded, plan, answers)
	a.Iteration, a.Revision, a.Sent, a.Verdict = it.ID, it.Revision, len(answers), traffic.Pass
	if len(a.Findings) > 0 {
		a.Verdict, a.ExitCode = traffic.Fail, control.ExitFail
	}
	return a, nil
}

// planned selects the calls and plans their requests.
func (s *Session) planned(r control.ReplayRequest) (replay.Plan, []*traffic.Call, *control.ReplayAnswer, error) {
	fail := func(err error) (replay.Plan, []*traffic.Call, *control.ReplayAnswer, error) {
		return replay.Plan{}, nil, nil, err
	}
	factor := 1.0
	if r.Factor != nil {
		factor = *r.Factor
	}
	if factor < 0 || factor > 1000 || r.Concurrency < 0 || r.Concurrency > mostConcurrency {
		return fail(control.Usagef(fmt.Sprintf("a factor of 0 to 1000, and 1 to %d requests at once", mostConcurrency), "the replay cannot run so"))
	}
	headers := map[string]string{}
	for name, value := range r.Headers {
		headers[http.CanonicalHeaderKey(name)] = value
	}
	if r.Snapshot == "" {
		it, err := s.sealed("")
		if err != nil {
			return fail(err)
		}
		r.Snapshot = it.Snapshot
	}
	snapshot, err := s.snapshot(r.Snapshot)
	if err != nil {
		return fail(err)
	}
	defer snapshot.Close()
	d, err := snapshot.ReadDissection()
	if err != nil {
		return fail(err)
	}
	calls, err := selected(d, cmp.Or(r.KFL, replayedByDefault))
	if err != nil {
		return fail(control.Usagef("docs/fields.md lists the fields", err.Error()))
	}
	plan, skipped := replay.Make(calls, replay.Options{All: r.All, Headers: headers, Most: mostReplayed})
	plan.Factor, plan.Concurrency = factor, cmp.Or(r.Concurrency, replayConcurrency)
	return plan, d.Calls, &control.ReplayAnswer{Compared: replay.Compared{Findings: []replay.Finding{}}, From: snapshot.ID(), Skipped: skipped, Note: control.Untrusted}, nil
}

// selected are the calls that a filter selects.
func selected(d *traffic.Dissection, kfl string) ([]*traffic.Call, error) {
	f, err := filter.Compile(kfl)
	if err != nil {
		return nil, err
	}
	connections := byID(d.Connections)
	var calls []*traffic.Call
	for _, c := range d.Calls {
		matched, err := f.Match(&filter.Row{Call: c, Conn: connections[c.ConnID]})
		if err != nil {
			return nil, err
		}
		if matched {
			calls = append(calls, c)
		}
	}
	return calls, nil
}

// sendPlan runs an iteration whose command sends the plan. The headers that were given are in no file.
func (s *Session) sendPlan(ctx context.Context, r control.ReplayRequest, plan replay.Plan, folder string, tell func(control.Event)) (*traffic.Iteration, error) {
	if env := s.environment(); env != nil {
		for i := range plan.Requests {
			plan.Requests[i].URL = env.Reach(plan.Requests[i].URL)
		}
	}
	text, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, "plan.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	headers, err := json.Marshal(r.Headers)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program to replay with: %w", err)
	}
	it, err := s.Iterate(ctx, control.RunRequest{
		Until: "exercise", Command: []string{self, replay.Argument, file, filepath.Join(folder, "answers.json")}, Env: []string{replay.HeaderVariable + "=" + string(headers)}, Where: r.Where,
	}, tell)
	switch {
	case err != nil:
		return nil, err
	case it.Failure != nil:
		return nil, failureError(it)
	}
	for i := range it.Warnings {
		it.Warnings[i] = strings.TrimSpace(it.Warnings[i])
	}
	return it, nil
}
