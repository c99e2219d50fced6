package devloop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// iterate is one turn of the loop. What goes wrong on the way is told in the iteration itself (Failure, ExitCode); the
// error is set only when there is no iteration to show: it was superseded, or the session ends.
func (s *Session) iterate(ctx context.Context, it *traffic.Iteration, r *request) error {
	turn := &turn{s: s, it: it, r: r}
	err := turn.steps(ctx)
	turn.letGo()
	if cause := context.Cause(ctx); cause != nil {
		s.finish(it, "cancelled", nil)
		return cause
	}
	var failure *failure
	if errors.As(err, &failure) {
		s.update(it, func() { it.Failure, it.ExitCode = &failure.Failure, graver(it.ExitCode, failure.exit) })
		err = nil
	}
	if err != nil {
		s.update(it, func() {
			it.Failure, it.ExitCode = &traffic.Failure{Phase: it.Phase, What: err.Error()}, control.ExitBug
		})
	}
	s.hideSecrets(it)
	s.noteFlakes(it)
	s.finish(it, turn.state(), r)
	return nil
}

// hideSecrets redacts what compilers, logs and commands printed: it leaves the machine with the iteration.
func (s *Session) hideSecrets(it *traffic.Iteration) {
	hide := s.store.Redactor().Text
	s.update(it, func() {
		if it.Failure != nil {
			it.Failure.What, it.Failure.Output = hide(it.Failure.What), hide(it.Failure.Output)
		}
		if it.Exercise != nil {
			for i := range it.Exercise.Steps {
				it.Exercise.Steps[i].Output = hide(it.Exercise.Steps[i].Output)
			}
		}
	})
}

// turn is what one iteration carries from step to step.
type turn struct {
	s      *Session
	it     *traffic.Iteration
	r      *request
	window *openWindow
	suite  *assertions.Suite
	wrong  []string // what did not run the revision

	recordings map[int]recording // what the exercise's replay steps send, by the step's index
}

// failure ends an iteration before its verdict, in a way that people can act on.
type failure struct {
	traffic.Failure
	exit int
}

func (f *failure) Error() string { return f.What }

func failed(exit int, f traffic.Failure) error { return &failure{f, exit} }

// steps is the recipe: every line is a phase of the ledger.
func (t *turn) steps(ctx context.Context) error {
	if err := t.phase(ctx, "config", t.config); err != nil {
		return err
	}
	if err := t.phase(ctx, "start", t.start); err != nil {
		return err
	}
	built, err := t.build(ctx)
	if err != nil || t.r.Until == "build" {
		return err
	}
	if err := t.deploy(ctx, built); err != nil || t.r.Until == "deploy" {
		return err
	}
	if none := t.s.cannotCapture(); none != nil {
		return t.unseen(ctx, none)
	}
	if err := t.phase(ctx, "open", t.open); err != nil {
		return err
	}
	exerciseErr := t.exercise(ctx)
	if ctx.Err() != nil {
		return exerciseErr
	}
	if err := t.phase(ctx, "quiet", t.quiet); err != nil {
		return err
	}
	if err := t.phase(ctx, "verify", t.verify); err != nil {
		return err
	}
	t.faulted()
	if err := t.phase(ctx, "seal", t.seal); err != nil {
		return err
	}
	if err := t.phase(ctx, "dissect", t.dissect); err != nil {
		return err
	}
	if t.r.Until != "exercise" {
		if err := t.phase(ctx, "judge", t.judge); err != nil {
			return err
		}
		if err := t.rerun(ctx); err != nil && exerciseErr == nil {
			exerciseErr = err
		}
		if err := t.phase(ctx, "diff", t.diff); err != nil {
			return err
		}
	}
	return t.crash(exerciseErr)
}

// phase runs one step and writes its line of the ledger.
func (t *turn) phase(ctx context.Context, name string, step func(context.Context) (string, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.s.update(t.it, func() { t.it.Phase = name })
	t.s.publish(t.r, control.Event{Iteration: t.it})
	began := time.Now()
	detail, err := step(ctx)
	t.s.update(t.it, func() {
		t.it.Ledger = append(t.it.Ledger, traffic.PhaseTime{Phase: name, NS: time.Since(began).Nanoseconds(), Detail: detail})
	})
	return err
}

// config reads devloop.yaml again when it was saved, and the check files always: a mistake in them is told before
// anything is built.
func (t *turn) config(ctx context.Context) (string, error) {
	detail, err := t.s.reloadConfig(ctx)
	if err == nil {
		t.suite, err = t.s.loadChecks()
	}
	if err != nil {
		return "", failed(control.ExitUsage, traffic.Failure{What: err.Error(), Phase: "config"})
	}
	if err := t.known(); err != nil {
		return detail, err
	}
	return detail, t.planReplays()
}

// known refuses names of checks and exercises that nothing bears, before anything is built for them.
func (t *turn) known() error {
	if unknown := t.suite.Unknown(t.r.Checks); len(unknown) > 0 {
		return failed(control.ExitUsage, traffic.Failure{
			Phase: "config", What: fmt.Sprintf("no check is called %q", unknown[0]), Hint: "the checks are: " + strings.Join(t.suite.Names(), ", ") + ", and builtin/…",
		})
	}
	if t.r.Exercise == "" {
		return nil
	}
	if _, _, err := chooseExercise(t.s.config(), t.r.Exercise); err != nil {
		return failed(control.ExitUsage, traffic.Failure{Phase: "config", What: err.Error(), Hint: exerciseHint})
	}
	return nil
}

func (t *turn) start(ctx context.Context) (string, error) {
	detail, err := t.s.ensureStarted(ctx, t.r.Where, func(message string) {
		t.s.publish(t.r, control.Event{Message: message})
	})
	if err != nil {
		return detail, err
	}
	warnings := t.s.warnings()
	t.s.update(t.it, func() {
		t.it.Source = t.s.wire.sourceName()
		t.it.Warnings = append(t.it.Warnings, warnings...)
	})
	return detail, nil
}

// build builds what is stale. A build that fails leaves the old one serving.
func (t *turn) build(ctx context.Context) (map[string]build, error) {
	var built map[string]build
	err := t.phase(ctx, "build", func(ctx context.Context) (string, error) {
		names := t.s.takeStale()
		if len(names) == 0 {
			return "nothing to build", nil
		}
		var err error
		if built, err = t.s.builder().build(ctx, names); err != nil {
			t.s.markStale(names)
		} else {
			t.s.rememberPrograms(built)
		}
		var be *buildError
		if errors.As(err, &be) {
			return "", failed(control.ExitEnvironment, traffic.Failure{
				Phase: "build", Service: strings.Join(be.services, ", "), What: be.Error(), Output: clip(be.output, 8<<10), Hint: buildHint(be.output),
			})
		}
		return strings.Join(names, ", "), err
	})
	return built, err
}

// deploy restarts the services whose build changed, what they depend on first.
func (t *turn) deploy(ctx context.Context, built map[string]build) error {
	return t.phase(ctx, "deploy", func(ctx context.Context) (string, error) {
		changed, err := t.s.deploy(ctx, built)
		if err != nil {
			t.s.markStale(slices.Collect(maps.Keys(built)))
			return "", err
		}
		t.s.update(t.it, func() {
			t.it.Changed = changed
			t.it.Revision, t.it.Builds = t.s.revisionNow()
		})
		if len(changed) == 0 {
			return "nothing changed", nil
		}
		return strings.Join(changed, ", "), nil
	})
}

func (t *turn) open(ctx context.Context) (string, error) {
	if t.s.capturePaused() { // it is not started again unasked: whoever stopped it had a reason
		return "", failed(control.ExitEnvironment, traffic.Failure{Phase: "open", What: "capture was stopped, so nothing can be judged", Hint: "devloop capture start"})
	}
	w, err := t.s.wire.open(ctx)
	if err != nil {
		return "", failed(control.ExitEnvironment, traffic.Failure{Phase: "open", What: err.Error(), Hint: sealHint(err)})
	}
	t.window = w
	return "", nil
}

// exercise drives the services. A failing exercise is judged all the same: its traffic is the proof of why.
func (t *turn) exercise(ctx context.Context) error {
	var failing error
	err := t.phase(ctx, "exercise", func(ctx context.Context) (string, error) {
		var result *traffic.ExerciseResult
		switch {
		case t.r.window != nil:
			t.r.window.wait(ctx, t)
			return "by hand", ctx.Err()
		case len(t.r.Command) > 0:
			result, failing = t.s.runCommand(ctx, t)
		default:
			result, failing = t.s.runExercise(ctx, t)
		}
		t.s.update(t.it, func() { t.it.Exercise = result })
		if result == nil {
			return "", nil
		}
		return result.Name, nil
	})
	if err != nil {
		return err
	}
	return failing
}

// crash names a service that ended while it was exercised: it explains what else failed. It is asked late, because an
// exercise may notice the end of a service before devloop does.
func (t *turn) crash(failing error) error {
	crashes := t.s.crashed()
	if failing != nil {
		crashes = t.s.awaitCrash(crashBound)
	}
	if len(crashes) == 0 {
		return failing
	}
	f := traffic.Failure{
		Phase: "exercise", Service: crashes[0].service, What: crashes[0].what, Output: crashes[0].tail,
		Hint: "devloop run starts it again",
	}
	exit := control.ExitEnvironment
	for _, other := range crashes[1:] {
		f.What += ", " + other.what
	}
	var before *failure
	if errors.As(failing, &before) {
		f.What, exit = f.What+"; "+before.What, graver(exit, before.exit)
	}
	return failed(exit, f)
}

func (t *turn) quiet(ctx context.Context) (string, error) {
	w := t.s.config().Window
	return t.s.wire.quiet(ctx, orDefault(w.Quiet, 50*time.Millisecond), orDefault(w.Drain, 2*time.Second))
}

// verify asks whether everything still runs the revision that the verdict will speak of.
func (t *turn) verify(ctx context.Context) (string, error) {
	wrong, err := t.s.environment().Verify(ctx)
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	t.wrong = wrong
	t.s.update(t.it, func() { t.it.Warnings = append(t.it.Warnings, wrong...) })
	return strings.Join(wrong, "; "), nil
}

func (t *turn) seal(ctx context.Context) (string, error) {
	if err := t.s.wire.seal(ctx, t.window, t.it, t.s.identities()); err != nil {
		return "", failed(control.ExitEnvironment, traffic.Failure{Phase: "seal", What: err.Error(), Hint: sealHint(err)})
	}
	t.s.update(t.it, func() {
		t.it.Snapshot, t.it.Events = t.window.snapshot.ID(), notable(t.window.snapshot.Events)
	})
	return t.it.Snapshot, nil
}

func (t *turn) dissect(ctx context.Context) (string, error) {
	o, err := t.s.dissectOptions(ctx)
	if err != nil {
		return "", failed(control.ExitUsage, traffic.Failure{Phase: "dissect", What: err.Error(), Hint: "mend protos in " + t.s.config().Path})
	}
	d, err := t.window.snapshot.Dissect(ctx, o)
	if err != nil {
		return "", failed(control.ExitEnvironment, traffic.Failure{Phase: "dissect", What: err.Error(), Hint: "devloop snapshot verify " + t.it.ID})
	}
	t.window.dissection = d
	if err := t.window.snapshot.WriteDissection(ctx, d); err != nil {
		return "", failed(control.ExitEnvironment, traffic.Failure{Phase: "dissect", What: err.Error(), Hint: sealHint(err)})
	}
	t.s.rows.put(t.it.ID, d)
	t.s.update(t.it, func() {
		t.it.Calls = len(d.Calls)
		account := d.Account
		t.it.Account = &account
	})
	return fmt.Sprintf("%d calls, %d connections, %d packets", len(d.Calls), len(d.Connections), d.Account.Packets), nil
}

func (t *turn) judge(context.Context) (string, error) {
	t.s.judge(t.it, t.suite, t.window.dissection, t.window.began, t.window.ended, t.r.RunRequest)
	if len(t.wrong) > 0 && t.it.Verdict == traffic.Pass { // part of the traffic was another revision's, and is not in it
		t.s.update(t.it, func() {
			t.it.Verdict = traffic.Inconclusive
			if !t.r.AllowInconclusive {
				t.it.ExitCode = graver(t.it.ExitCode, control.ExitInconclusive)
			}
		})
	}
	return fmt.Sprintf("%d checks", len(t.it.Checks)), nil
}

// rerun drives the services again for checks that need more data and ask for it (on_inconclusive: rerun). The window grows: what
// it held stays in it, and no result but an inconclusive one is judged again.
func (t *turn) rerun(ctx context.Context) error {
	began := time.Now()
	for done := 0; t.r.window == nil; done++ {
		names := t.suite.Unfinished(t.it.Checks, done, time.Since(began))
		if len(names) == 0 {
			return nil
		}
		if err := t.phase(ctx, "rerun", t.longer); err != nil {
			return err
		}
	}
	return nil
}

// longer makes the window longer by one more run of what drives the services, and judges again.
func (t *turn) longer(ctx context.Context) (string, error) {
	first := *t.it
	if t.it.FirstEnd == 0 {
		first.FirstEnd = t.window.ended
	}
	if err := t.exercise(ctx); err != nil {
		t.s.update(t.it, func() {
			t.it.Warnings = append(t.it.Warnings, "a rerun for more data failed, and its traffic does not count: "+err.Error())
		})
		return "", err
	}
	before := t.window.snapshot
	for _, step := range []func(context.Context) (string, error){t.quiet, t.verify, t.seal, t.dissect} {
		if _, err := step(ctx); err != nil {
			return "", err
		}
	}
	if err := errors.Join(before.Close(), t.s.store.Delete(before.ID())); err != nil {
		t.s.log.Warn("the shorter window's snapshot was not removed", "snapshot", before.ID(), "err", err)
	}
	t.s.update(t.it, func() { t.it.FirstEnd, t.it.Reruns = first.FirstEnd, first.Reruns+1 })
	return t.judge(ctx)
}

// diff says what the revision does otherwise on the wire than the last one that passed.
func (t *turn) diff(context.Context) (string, error) {
	d, err := t.s.wireDiff(t.it)
	if err != nil {
		t.s.log.Warn("the traffic was not compared with that of the revision before", "err", err)
		return "", nil
	}
	t.s.update(t.it, func() { t.it.WireDiff = d })
	return diffDetail(d), nil
}

// state is how the iteration ended.
func (t *turn) state() string {
	if t.it.Failure != nil && t.it.Verdict == "" {
		return "failed"
	}
	return "done"
}

// judge evaluates the checks and settles verdict and exit code.
func (s *Session) judge(it *traffic.Iteration, suite *assertions.Suite, d *traffic.Dissection, began, ended int64, r control.RunRequest) {
	name := ""
	if it.Exercise != nil {
		name = it.Exercise.Name
	}
	current := ofRevision(d, it.Revision)
	in := assertions.Input{
		Dissection: current, WindowStart: began, WindowEnd: ended, Identities: s.identities(), Exercise: name, Baseline: s.baselineOf(name), Folder: s.workspace,
	}
	first := in
	if it.FirstEnd != 0 {
		first.WindowEnd = it.FirstEnd
	}
	o := assertions.CheckOptions{Only: r.Checks, Profile: s.config().Profile}
	if o.Compares() {
		first.Passed = s.lastPassed(it)
	}
	results := suite.Check(first, o)
	if it.FirstEnd != 0 { // the window was made longer for those that asked for it
		results = assertions.Renew(results, suite.Check(in, assertions.CheckOptions{Only: suite.Rerunning(r.Checks), NoBuiltin: true}))
	}
	for i := range results {
		if rel, err := filepath.Rel(s.workspace, results[i].File); err == nil && results[i].File != "" {
			results[i].File = filepath.ToSlash(rel)
		}
	}
	verdict, exit := assertions.Summary(results, r.AllowInconclusive)
	s.update(it, func() { it.Checks, it.Verdict, it.ExitCode = results, verdict, exit })
}

// ofRevision leaves out the calls and connections that another build served: they say nothing of this revision.
func ofRevision(d *traffic.Dissection, revision string) *traffic.Dissection {
	if revision == "" {
		return d
	}
	current := *d
	current.Calls = slices.DeleteFunc(slices.Clone(d.Calls), func(c *traffic.Call) bool { return c.Revision != revision })
	current.Connections = slices.DeleteFunc(slices.Clone(d.Connections), func(c *traffic.Connection) bool { return c.Revision != revision })
	return &current
}

// update changes the iteration under the lock: readers see it whole.
func (s *Session) update(_ *traffic.Iteration, change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// finish closes an iteration's books.
func (s *Session) finish(it *traffic.Iteration, state string, r *request) {
	s.mu.Lock()
	it.State, it.Ended = state, time.Now().UnixNano()
	if it.Failure == nil && state == "done" {
		it.Phase = "done"
	}
	s.current = nil
	if state != "cancelled" {
		s.recent = append(s.recent, it)
		if extra := len(s.recent) - keepIterations; extra > 0 {
			s.recent = slices.Delete(s.recent, 0, extra)
		}
	}
	s.mu.Unlock()
	if err := s.persist(it); err != nil {
		s.log.Warn("an iteration was not written down", "iteration", it.ID, "err", err)
	}
	if _, err := s.store.Retain(); err != nil {
		s.log.Warn("old snapshots were not removed", "err", err)
	}
	s.publish(r, control.Event{Iteration: it})
}

// gravity is the stated precedence of exit codes, gravest first.
var gravity = []int{
	control.ExitInterrupt, control.ExitTimeout, control.ExitBug, control.ExitUsage, control.ExitEnvironment, control.ExitFail,
	commandFailed, control.ExitInconclusive, control.ExitPass,
}

// commandFailed stands for a wrapped command's own exit code: graver than a check that could not be decided, less grave
// than one that failed.
const commandFailed = -1

// graver is the graver one of two exit codes.
func graver(a, b int) int {
	rank := func(code int) int {
		if i := slices.Index(gravity, code); i >= 0 {
			return i
		}
		return slices.Index(gravity, commandFailed)
	}
	if rank(b) < rank(a) {
		return b
	}
	return a
}

// revisionNow names what serves: a new revision when any build differs from the last one named.
func (s *Session) revisionNow() (string, map[string]string) {
	builds := map[string]string{}
	for name, b := range s.served {
		builds[name] = b.ID
	}
	if !maps.Equal(builds, s.state.Builds) {
		s.state.Revision++
		s.state.Builds = builds
	}
	return fmt.Sprintf("r%d", s.state.Revision), maps.Clone(builds)
}

func orDefault(d config.Duration, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return time.Duration(d)
}

// clip cuts long output at a line, in front: the compiler's first errors matter most.
func clip(output string, limit int) string {
	if len(output) <= limit {
		return output
	}
	cut := []byte(output)[:limit]
	if i := bytes.LastIndexByte(cut, '\n'); i > 0 {
		cut = cut[:i]
	}
	return string(cut) + "\n… (cut)"
}

const fullHint = "the disk is full: devloop snapshot list shows what is kept; devloop snapshot delete ID makes room, storage: in devloop.yaml bounds it"

// sealHint is the next command where packets could not be written.
func sealHint(err error) string {
	if errors.Is(err, syscall.ENOSPC) {
		return fullHint
	}
	return "devloop doctor"
}

// buildHint tells code that does not compile from a disk without room for what it compiles to.
func buildHint(output string) string {
	if strings.Contains(output, syscall.ENOSPC.Error()) {
		return fullHint
	}
	return "mend the code and save; the build before goes on serving"
}

// letGo gives the window's packets back to the ring, and its snapshot to retention.
func (t *turn) letGo() {
	if t.window == nil {
		return
	}
	t.window.release()
	if sn := t.window.snapshot; sn != nil {
		if err := sn.Close(); err != nil {
			t.s.log.Warn("a snapshot was not closed", "snapshot", sn.ID(), "err", err)
		}
	}
}
