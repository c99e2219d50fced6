package devloop

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"unicode"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/store/bundle"
	"github.com/devloop-io/devloop/traffic"
)

// recording is what a replay step sends again.
type recording struct {
	plan     replay.Plan
	skipped  []replay.Skipped
	recorded []*traffic.Call
}

// recordings plans the replay steps of an exercise, by their index. Mistakes are told with their place in devloop.yaml.
func (s *Session) recordings(name string, e config.Exercise) (map[int]recording, error) {
	all := map[int]recording{}
	for i, step := range e.Steps {
		r := step.Replay
		if r == nil {
			continue
		}
		at := fmt.Sprintf("exercises.%s.steps[%d].replay", name, i)
		d, err := s.recordedIn(*r)
		if err != nil {
			hint := "devloop snapshot list shows what is kept; a bundle in the workspace (devloop export bundle) stays"
			if r.IsFile() {
				hint = "devloop export bundle --file " + r.Snapshot + " writes one"
			}
			return nil, s.config().Mistake(at+".snapshot", hint, err.Error())
		}
		calls, err := selected(d, cmp.Or(r.KFL, replayedByDefault))
		if err != nil {
			return nil, s.config().Mistake(at+".kfl", "", err.Error())
		}
		given := map[string]string{} // the step renders the values
		for header := range r.Headers {
			given[http.CanonicalHeaderKey(header)] = ""
		}
		x := recording{recorded: d.Calls}
		x.plan, x.skipped = replay.Make(calls, replay.Options{All: r.All, Headers: given, Most: mostReplayed})
		x.plan.Factor, x.plan.Concurrency = r.DefaultFactor(), r.DefaultConcurrency()
		if len(x.plan.Requests) == 0 {
			why := "nothing of it can be sent"
			if len(x.skipped) > 0 {
				why += ": " + notSent(x.skipped)
			}
			return nil, s.config().Mistake(at+".snapshot", "kfl selects others; by default it is what nothing inside of the system caused", why)
		}
		all[i] = x
	}
	return all, nil
}

// recordedIn reads the calls of a snapshot, or of a bundle in the workspace.
func (s *Session) recordedIn(r config.ReplayStep) (*traffic.Dissection, error) {
	if !r.IsFile() {
		sn, err := s.snapshot(r.Snapshot)
		if err != nil {
			return nil, err
		}
		defer sn.Close()
		return sn.ReadDissection()
	}
	f, err := os.OpenInRoot(s.workspace, r.Snapshot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s in the workspace", r.Snapshot)
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", r.Snapshot)
	}
	b, err := bundle.Open(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Snapshot, err)
	}
	d := &traffic.Dissection{}
	return d, b.Into(bundle.RowsName, d)
}

// planReplays plans what the iteration's exercise replays, before anything is built for it.
func (t *turn) planReplays() error {
	if t.r.window != nil || len(t.r.Command) > 0 || t.r.Until == "build" || t.r.Until == "deploy" {
		return nil
	}
	name, e, err := chooseExercise(t.s.config(), t.r.Exercise)
	if err != nil {
		return nil //nolint:nilerr // told where the exercise is to run
	}
	if t.recordings, err = t.s.recordings(name, e); err != nil {
		return failed(control.ExitUsage, traffic.Failure{Phase: "config", What: err.Error()})
	}
	return nil
}

// plans are the requests of the replay steps, at the addresses that answer in this environment.
func (t *turn) plans(env environment) map[int]replay.Plan {
	plans := map[int]replay.Plan{}
	for i, r := range t.recordings {
		p := r.plan
		p.Requests = append([]replay.Request(nil), p.Requests...)
		for k := range p.Requests {
			p.Requests[k].URL = env.Reach(p.Requests[k].URL)
		}
		plans[i] = p
	}
	return plans
}

// tellReplays says in the result how the answers to replayed requests differ from those that were recorded, and fails where a step
// expects the same ones.
func (t *turn) tellReplays(e config.Exercise, result *traffic.ExerciseResult, answers map[int][]replay.Answer) error {
	for i, r := range t.recordings {
		if i >= len(result.Steps) || len(answers[i]) != len(r.plan.Requests) {
			continue // an earlier step failed
		}
		c := replay.Compare(r.recorded, r.plan, answers[i])
		step := &result.Steps[i]
		step.Output = toldReplay(c, len(answers[i]), r.skipped)
		if e.Steps[i].Replay.ExpectSame && len(c.Findings) > 0 {
			step.ExitCode, result.ExitCode = 1, 1
			return failed(control.ExitFail, traffic.Failure{
				Phase: "exercise", What: fmt.Sprintf("step %d of exercise %s: something is answered otherwise than in %s, and expect_same is set", i+1, result.Name, e.Steps[i].Replay.Snapshot),
				Output: step.Output, Hint: "devloop calls shows what was sent and answered; without expect_same the checks judge alone",
			})
		}
	}
	return nil
}

// shownDifferences bounds what a step's output tells.
const shownDifferences = 20

// toldReplay is what came of a replay, for people. Values of fields are left out: some are secrets.
func toldReplay(c replay.Compared, sent int, skipped []replay.Skipped) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d answers are as they were recorded\n", c.Same, sent)
	for i, f := range c.Findings {
		if i == shownDifferences {
			fmt.Fprintf(&b, "and %d more differences\n", len(c.Findings)-i)
			break
		}
		change := ": " + f.Recorded + " → " + f.Now
		if strings.HasPrefix(f.What, "value of ") {
			change = " is another"
		}
		fmt.Fprintf(&b, "%s\n", strings.Map(visible, fmt.Sprintf("%s: %s%s (%d of %d, such as %s)", f.Endpoint, f.What, change, f.N, f.Of, f.Example)))
	}
	if len(skipped) > 0 {
		fmt.Fprintf(&b, "not sent: %s\n", notSent(skipped))
	}
	return b.String()
}

// visible leaves out what would move a terminal's cursor.
func visible(r rune) rune {
	if unicode.IsControl(r) {
		return -1
	}
	return r
}

func notSent(skipped []replay.Skipped) string {
	var parts []string
	for _, x := range skipped {
		parts = append(parts, strings.Map(visible, fmt.Sprintf("%d because %s", x.N, x.Why)))
	}
	return strings.Join(parts, "; ")
}
