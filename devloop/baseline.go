package devloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// recordedRuns is how many iterations record runs: what is in none of ten is in fewer than 26 % of all, and they tell how much
// latencies differ from run to run.
const recordedRuns = 10

var baselineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// RecordBaseline runs the present code several times and writes what it showed as a baseline.
func (s *Session) RecordBaseline(ctx context.Context, r control.BaselineRequest, tell func(control.Event)) (*control.BaselineAnswer, error) {
	name, err := s.nameOf(r)
	if err != nil {
		return nil, err
	}
	if err := s.undisturbed(); err != nil {
		return nil, err
	}
	if r.Runs == 0 {
		r.Runs = recordedRuns
	}
	now, a, err := s.present(ctx, name, r, tell)
	if err != nil {
		return nil, err
	}
	if err := s.undisturbed(a.Iterations...); err != nil {
		return nil, err
	}
	if lost := now.Incomplete(); lost != "" {
		return nil, &control.Error{What: "nothing was recorded: the capture is incomplete, and a baseline would take what is missing for never there: " + lost, Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	if len(now.Endpoints) == 0 {
		return nil, &control.Error{What: "nothing was recorded: the runs hold no calls", Hint: "devloop calls", Exit: control.ExitEnvironment}
	}
	if err := s.writeBaseline(now); err != nil {
		return nil, err
	}
	a.Written, a.File, a.Next = true, s.relative(s.baselineFile(name)), "review it and commit it to git; devloop baseline compare tells what differs later"
	return a, nil
}

// undisturbed refuses to record what a fault does to the traffic: the baseline would take it for the code's own conduct. It asks about
// now, and about iterations.
func (s *Session) undisturbed(iterations ...string) error {
	env, ok := s.environment().(faulty)
	if !ok {
		return nil
	}
	refused := func(f control.Fault, what string) error {
		return &control.Error{What: fmt.Sprintf("nothing was recorded: fault %s (%s -> %s) %s, and a baseline would take what it does for how the services speak", f.ID, f.From, f.To, what),
			Hint: "devloop fault clear --all; devloop baseline record", Exit: control.ExitUsage}
	}
	for _, f := range faultsOf(env.Faults(time.Time{})).Faults {
		if f.EndedNS == 0 {
			return refused(f, "is active")
		}
	}
	for _, id := range iterations {
		it, err := s.sealed(id)
		if err != nil {
			return err
		}
		for _, f := range faultsOf(env.Faults(time.Unix(0, it.Started))).Faults {
			if f.BeganNS < it.Ended {
				return refused(f, "was active in "+it.ID)
			}
		}
	}
	return nil
}

// CompareBaseline compares the present code with a recorded baseline, or with runs of another workspace.
func (s *Session) CompareBaseline(ctx context.Context, r control.BaselineRequest, tell func(control.Event)) (*control.BaselineAnswer, error) {
	_, now, a, err := s.compared(ctx, r, tell)
	if err != nil {
		return nil, err
	}
	a.ExitCode = verdictExit(a.Report.Verdict, r.AllowInconclusive)
	switch {
	case a.Report.Verdict == traffic.Fail && r.Other == nil:
		a.Next = "mend it, or take it over: devloop baseline accept --reason WHY " + a.Name
	case a.Report.Verdict == traffic.Inconclusive:
		runs := max(5, a.Report.RunsNeed) // with these each run counts once
		if now.Runs >= runs {
			runs = min(2*now.Runs, baseline.MostRuns)
		}
		a.Next = fmt.Sprintf("more runs decide more: devloop baseline compare --runs %d %s", runs, a.Name)
	}
	return a, nil
}

func verdictExit(v traffic.Verdict, allow bool) int {
	switch {
	case v == traffic.Fail:
		return control.ExitFail
	case v == traffic.Pass || allow:
		return control.ExitPass
	}
	return control.ExitInconclusive
}

// AcceptBaseline takes what differs over into the baseline, and leaves the rest of its text as it is.
func (s *Session) AcceptBaseline(ctx context.Context, r control.BaselineRequest, tell func(control.Event)) (*control.BaselineAnswer, error) {
	if strings.TrimSpace(r.Reason) == "" {
		return nil, control.Usagef("devloop baseline accept --reason 'the catalogue answers with prices in cents' NAME", "a change is accepted for a reason, and none is given")
	}
	old, now, a, err := s.compared(ctx, r, tell)
	if err != nil {
		return nil, err
	}
	if lost := now.Incomplete(); lost != "" {
		return nil, &control.Error{What: "nothing was accepted: the capture is incomplete: " + lost, Hint: "devloop doctor", Exit: control.ExitEnvironment}
	}
	if !baseline.Accept(old, now, a.Report, r.Reason, today()) {
		a.Next = "nothing differs that could be accepted"
		return a, nil
	}
	if err := s.writeBaseline(old); err != nil {
		return nil, err
	}
	a.Written, a.Next = true, "review the difference and commit it: git diff "+a.File
	return a, nil
}

// ListBaselines lists what is recorded.
func (s *Session) ListBaselines(struct{}) (*control.BaselinesAnswer, error) {
	a := &control.BaselinesAnswer{Baselines: []control.BaselineInfo{}}
	files, err := filepath.Glob(filepath.Join(s.store.BaselinesDir(), "*.yaml"))
	if err != nil {
		return nil, err
	}
	host := baseline.ThisHost()
	for _, file := range files {
		info := control.BaselineInfo{Name: strings.TrimSuffix(filepath.Base(file), ".yaml"), File: s.relative(file)}
		b, err := readBaseline(file)
		if err != nil {
			info.Problem = err.Error()
		} else {
			info.Exercise, info.Commit, info.Recorded, info.Runs, info.Endpoints, info.Edges = b.Exercise, b.Commit, b.Recorded, b.Runs, len(b.Endpoints), len(b.Edges)
			info.OtherHost = b.Host != host
		}
		a.Baselines = append(a.Baselines, info)
	}
	return a, nil
}

// compared compares, and returns both sides.
func (s *Session) compared(ctx context.Context, r control.BaselineRequest, tell func(control.Event)) (old, now *baseline.Baseline, a *control.BaselineAnswer, err error) {
	name, err := s.nameOf(r)
	if err != nil {
		return nil, nil, nil, err
	}
	if r.Other != nil {
		old, err = s.otherSide(r.Other)
	} else {
		old, err = s.recorded(name)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	if r.Exercise == "" {
		r.Exercise = old.Exercise
	}
	if now, a, err = s.present(ctx, name, r, tell); err != nil {
		return nil, nil, nil, err
	}
	if old.Exercise != now.Exercise && r.Other == nil {
		return nil, nil, nil, control.Usagef("devloop baseline compare --runs 1 --exercise "+old.Exercise+" "+name,
			fmt.Sprintf("baseline %s speaks of the exercise %q, and what is compared ran %q", name, old.Exercise, now.Exercise))
	}
	if r.Other == nil {
		a.File = s.relative(s.baselineFile(name))
	}
	a.Report = baseline.Compare(old, now, baseline.Options{Looks: r.Looks})
	newest, err := s.sealed(a.Iterations[len(a.Iterations)-1])
	if err != nil {
		return nil, nil, nil, err
	}
	s.shown(ctx, a.Report, newest, old.Commit)
	return old, now, a, nil
}

// recorded reads a baseline by its name.
func (s *Session) recorded(name string) (*baseline.Baseline, error) {
	b, err := readBaseline(s.baselineFile(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, control.Usagef("devloop baseline record "+name, "no baseline is called "+name)
	case err != nil:
		return nil, &control.Error{What: s.relative(s.baselineFile(name)) + ": " + err.Error(), Hint: "devloop baseline record " + name, Exit: control.ExitUsage}
	}
	return b, nil
}

func readBaseline(file string) (*baseline.Baseline, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > baseline.MostText {
		return nil, fmt.Errorf("it is no file of at most %d MiB", baseline.MostText>>20)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return baseline.Parse(data)
}

func (s *Session) writeBaseline(b *baseline.Baseline) error {
	text, err := baseline.Marshal(b)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.store.BaselinesDir(), 0o755); err != nil { // it belongs to git, unlike all else here
		return fmt.Errorf("make the folder for baselines: %w", err)
	}
	file := s.baselineFile(b.Name)
	if err := writeFile(file, text); err != nil {
		return err
	}
	return os.Chmod(file, 0o644)
}

func (s *Session) baselineFile(name string) string {
	return filepath.Join(s.store.BaselinesDir(), name+".yaml")
}

func (s *Session) relative(file string) string {
	if rel, err := filepath.Rel(s.workspace, file); err == nil {
		return filepath.ToSlash(rel)
	}
	return file
}

// nameOf is the baseline that is meant: the named one, else that of the exercise.
func (s *Session) nameOf(r control.BaselineRequest) (string, error) {
	name := r.Name
	if name == "" {
		exercise, _, err := chooseExercise(s.config(), r.Exercise)
		if err != nil {
			return "", control.Usagef(exerciseHint, err.Error())
		}
		name = exercise
	}
	if !baselineName.MatchString(name) {
		return "", control.Usagef("letters, digits, dots, dashes and underscores, at most 64", fmt.Sprintf("%q cannot be the name of a baseline", name))
	}
	return name, nil
}

// present is the present code's traffic: of runs made now, of iterations that are named, or of the newest one.
func (s *Session) present(ctx context.Context, name string, r control.BaselineRequest, tell func(control.Event)) (*baseline.Baseline, *control.BaselineAnswer, error) {
	var its []*traffic.Iteration
	var err error
	switch {
	case len(r.Iterations) > 0:
		for _, id := range r.Iterations {
			it, err := s.sealed(id)
			if err != nil {
				return nil, nil, err
			}
			its = append(its, it)
		}
	case r.Runs > 0:
		its, err = s.runs(ctx, r, tell)
	default:
		var it *traffic.Iteration
		it, err = s.sealed("")
		its = append(its, it)
	}
	if err != nil {
		return nil, nil, err
	}
	a := &control.BaselineAnswer{Name: name, Iterations: []string{}}
	var all []*baseline.Run
	for _, it := range its {
		if it.Revision != its[0].Revision {
			return nil, nil, control.Usagef("devloop baseline record --runs 5", fmt.Sprintf("%s ran %s and %s ran %s: the runs of a baseline are of one code", its[0].ID, its[0].Revision, it.ID, it.Revision))
		}
		d, _, _, err := s.dissection(it)
		if err != nil {
			return nil, nil, err
		}
		if len(it.Changed) > 0 {
			a.Warnings = append(a.Warnings, "services were started in "+it.ID+", so its connections and caches were cold; --runs 3 compares warm ones")
		}
		all = append(all, baseline.Summarize(it.ID, ofRevision(d, it.Revision)))
		a.Iterations = append(a.Iterations, it.ID)
	}
	meta := baseline.Meta{Name: name, Environment: s.environmentName(), Commit: commitOf(ctx, s.workspace), Recorded: today(), Host: baseline.ThisHost()}
	if its[0].Exercise != nil {
		meta.Exercise = its[0].Exercise.Name
	}
	b, err := baseline.New(meta, all)
	return b, a, err
}

// environmentName is where the services run.
func (s *Session) environmentName() string {
	if env := s.environment(); env != nil {
		return env.Name()
	}
	return ""
}

// runs makes iterations of the present code. One in which services were started only warms them up, and does not count.
func (s *Session) runs(ctx context.Context, r control.BaselineRequest, tell func(control.Event)) ([]*traffic.Iteration, error) {
	if r.Runs < 0 || r.Runs > baseline.MostRuns {
		return nil, control.Usagef(fmt.Sprintf("1 to %d", baseline.MostRuns), fmt.Sprintf("%d runs cannot be made", r.Runs))
	}
	var its []*traffic.Iteration
	for warm := 0; len(its) < r.Runs; {
		it, err := s.Iterate(ctx, control.RunRequest{Until: "exercise", Exercise: r.Exercise, Where: r.Where}, tell)
		switch {
		case err != nil:
			return nil, err
		case it.Failure != nil:
			return nil, failureError(it)
		case it.Snapshot == "":
			return nil, &control.Error{What: "packets cannot be captured here, so there is nothing to compare", Hint: "devloop doctor", Exit: control.ExitEnvironment}
		case len(it.Changed) > 0:
			its = nil // another revision now
			if warm++; warm > 5 {
				return nil, &control.Error{What: "the code changes with every run: the runs of a baseline are of one code", Hint: "stop saving for a moment", Exit: control.ExitEnvironment}
			}
			continue
		}
		its = append(its, it)
		if tell != nil {
			tell(control.Event{Message: fmt.Sprintf("run %d of %d: %s", len(its), r.Runs, it.ID)})
		}
	}
	return its, nil
}

// otherSide are the runs of another workspace as a baseline.
func (s *Session) otherSide(o *control.OtherRuns) (*baseline.Baseline, error) {
	st, err := store.Open(filepath.Join(o.Dir, ".devloop"), storeOptions(s.config()))
	if err != nil {
		return nil, err
	}
	var all []*baseline.Run
	exercise := ""
	for _, id := range o.Iterations {
		sn, err := st.Snapshot(id)
		if err != nil {
			return nil, err
		}
		d, err := sn.ReadDissection()
		exercise = sn.Window.Exercise
		all = append(all, baseline.Summarize(id, ofRevision(d, sn.Window.Revision)))
		if err := errors.Join(err, sn.Close()); err != nil {
			return nil, fmt.Errorf("read run %s of %s: %w", id, o.Dir, err)
		}
	}
	return baseline.New(baseline.Meta{Name: o.Commit, Commit: o.Commit, Exercise: exercise, Host: baseline.ThisHost()}, all)
}

// baselineOf is the baseline that checks over an exercise are judged with: the one of its name, where there is one. What is
// wrong with it is told by the checks that ask for it.
func (s *Session) baselineOf(exercise string) assertions.BaselineFile {
	if !baselineName.MatchString(exercise) {
		return assertions.BaselineFile{}
	}
	f := assertions.BaselineFile{Name: s.relative(s.baselineFile(exercise)), Host: baseline.ThisHost()}
	f.Baseline, f.Err = readBaseline(s.baselineFile(exercise))
	return f
}

func today() string { return time.Now().Format(time.DateOnly) }

// commitOf names what git has checked out in a folder, with + when files were changed; empty where that is not known.
func commitOf(ctx context.Context, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	head, err := exec.CommandContext(ctx, "git", "-C", dir, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return ""
	}
	commit := strings.TrimSpace(string(head))
	changed, err := exec.CommandContext(ctx, "git", "-C", dir, "status", "--porcelain", "--untracked-files=no", ".").Output()
	lines := slices.DeleteFunc(strings.Split(string(changed), "\n"), func(l string) bool { return l == "" || strings.Contains(l, ".devloop/baselines/") })
	if err == nil && len(lines) > 0 {
		commit += "+"
	}
	return commit
}
