package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// against builds another commit beside this one and runs both in turns, as run says.
func (r *root) against(ctx context.Context, run control.RunRequest, against string, allow bool, most int) (*control.BaselineAnswer, error) {
	here, err := r.findWorkspace()
	if err != nil {
		return nil, err
	}
	there, err := checkOut(ctx, here, against)
	if err != nil {
		return nil, err
	}
	defer there.remove(context.WithoutCancel(ctx))
	r.say("… comparing with %s (%s)", there.commit, against)
	b, _, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	a, _, err := connectWorkspace(ctx, there.workspace, r.say)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := takeDown(context.WithoutCancel(ctx), a, there.workspace, control.DownRequest{KeepCluster: true}); err != nil {
			fmt.Fprintln(r.err, "error:", err)
		}
	}()
	run.Until, run.Checks = "exercise", nil
	theirs := run
	if rel, err := filepath.Rel(there.repository, run.Dir); err == nil && run.Dir != "" && filepath.IsLocal(rel) {
		theirs.Dir = filepath.Join(there.root, rel) // the command of that commit
	}
	t := &turns{r: r, here: side{c: b, run: run}, there: side{c: a, run: theirs}, most: max(1, most)}
	t.q = control.BaselineRequest{Name: "against", Exercise: run.Exercise, AllowInconclusive: allow, Where: run.Where, Looks: looks,
		Other: &control.OtherRuns{Dir: there.workspace, Commit: there.commit}}
	return t.compare(ctx)
}

const (
	// firstBlocks is how many runs of each side are made before the first comparison, which says how many are needed.
	firstBlocks = 4
	// looks is how often the comparison is made: after the first blocks, with the runs that are needed, and with all that are allowed.
	looks = 3
)

// turns runs blocks of A B B A, so that what changes on the machine meanwhile meets both sides alike.
type turns struct {
	r           *root
	q           control.BaselineRequest
	here, there side
	most        int // runs of each side
}

// side is one of two commits.
type side struct {
	c    *control.Client
	run  control.RunRequest
	runs []string // iterations
}

// compare looks at growing data: after the first blocks it stops only at what failed, because a pass takes the runs with which each run
// can count once; then with these; and where something is still open, with all that are allowed. The looks share alpha.
func (t *turns) compare(ctx context.Context) (*control.BaselineAnswer, error) {
	p := &progress{r: t.r}
	need := min(firstBlocks, t.most)
	for {
		if err := t.blocks(ctx, need, p); err != nil {
			return nil, err
		}
		t.q.Iterations, t.q.Other.Iterations = t.here.runs, t.there.runs
		a, err := control.BaselineCompare.Ask(ctx, t.here.c, t.q, p.event)
		switch {
		case err != nil:
			return nil, err
		case a.Report.Verdict == traffic.Fail, need >= t.most:
			return a, nil
		case a.Report.RunsNeed > need:
			need = min(a.Report.RunsNeed, t.most)
		case a.Report.Verdict == traffic.Pass:
			return a, nil
		default:
			need = t.most
		}
	}
}

// blocks runs both sides until each has so many runs.
func (t *turns) blocks(ctx context.Context, need int, p *progress) error {
	for len(t.here.runs) < need || len(t.there.runs) < need {
		order := []*side{&t.there, &t.here}
		if len(t.here.runs)%2 == 1 { // A B, then B A
			order[0], order[1] = order[1], order[0]
		}
		for _, s := range order {
			if err := s.once(ctx, p); err != nil {
				return err
			}
		}
		t.r.say("… %d of %d runs of each side", min(len(t.here.runs), len(t.there.runs)), need)
	}
	return nil
}

// once makes one run that counts: one in which services were started only warms them up.
func (s *side) once(ctx context.Context, p *progress) error {
	for range 6 {
		it, err := s.c.Run(ctx, s.run, p.event)
		switch {
		case err != nil:
			return err
		case it.Failure != nil:
			return &control.Error{What: it.Failure.What + "\n" + it.Failure.Output, Hint: it.Failure.Hint, Exit: it.ExitCode}
		case len(it.Changed) == 0:
			s.runs = append(s.runs, it.ID)
			return nil
		}
		s.runs = nil
	}
	return &control.Error{What: "the code changes with every run", Hint: "stop saving for a moment", Exit: control.ExitEnvironment}
}

// worktree is another commit checked out beside the workspace.
type worktree struct {
	repository string
	root       string // of the checkout
	workspace  string // the folder of devloop.yaml in it
	commit     string
}

// checkOut makes a worktree of the commit that is meant by git:merge-base or git:COMMIT.
func checkOut(ctx context.Context, workspace, against string) (*worktree, error) {
	name, ok := strings.CutPrefix(against, "git:")
	if !ok || name == "" || strings.HasPrefix(name, "-") {
		return nil, control.Usagef("devloop baseline compare --against git:merge-base", fmt.Sprintf("--against %s names no commit", against))
	}
	top, err := git(ctx, workspace, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	commit := ""
	if name == "merge-base" {
		commit, err = mergeBase(ctx, workspace)
	} else {
		commit, err = git(ctx, workspace, "rev-parse", "--verify", "--quiet", "--end-of-options", name+"^{commit}")
	}
	if err != nil || commit == "" {
		return nil, control.Usagef("git log --oneline; devloop baseline compare --against git:COMMIT", fmt.Sprintf("git knows no commit for %s", against))
	}
	real, err := filepath.EvalSymlinks(workspace)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(top, real)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "devloop-against-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // services may run as another user
		return nil, err
	}
	w := &worktree{repository: top, root: filepath.Join(dir, "tree"), commit: commit[:min(12, len(commit))]}
	w.workspace = filepath.Join(w.root, rel)
	if _, err := git(ctx, top, "worktree", "add", "--detach", "--quiet", w.root, commit); err != nil {
		_ = os.RemoveAll(dir) // empty
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(w.workspace, "devloop.yaml")); err != nil {
		w.remove(ctx)
		return nil, control.Usagef("compare with a later commit: --against git:COMMIT", fmt.Sprintf("commit %s has no devloop.yaml in %s", w.commit, rel))
	}
	return w, nil
}

// mergeBase is where this branch left the branch that it would be merged into; the commit before where it is that branch.
func mergeBase(ctx context.Context, dir string) (string, error) {
	var candidates []string
	if base := os.Getenv("GITHUB_BASE_REF"); base != "" {
		candidates = append(candidates, "origin/"+base)
	}
	if head, err := git(ctx, dir, "rev-parse", "--abbrev-ref", "origin/HEAD"); err == nil {
		candidates = append(candidates, head)
	}
	candidates = append(candidates, "origin/main", "origin/master", "main", "master")
	here, err := git(ctx, dir, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	for _, c := range candidates {
		base, err := git(ctx, dir, "merge-base", "HEAD", c)
		if err != nil || base == "" {
			continue
		}
		if changed, err := git(ctx, dir, "status", "--porcelain", "--untracked-files=no"); base == here && err == nil && changed == "" {
			return git(ctx, dir, "rev-parse", "HEAD~1") // on the branch itself, and nothing changed: what came last is compared
		}
		return base, nil
	}
	return "", fmt.Errorf("no branch to merge into was found")
}

// git runs git and returns the first line of what it says.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", &control.Error{What: fmt.Sprintf("git %s: %v: %s", args[0], err, strings.TrimSpace(stderr.String())), Hint: "git has to know this folder: git status", Exit: control.ExitEnvironment}
	}
	return strings.TrimSpace(string(out)), nil
}

// remove takes the worktree away again.
func (w *worktree) remove(ctx context.Context) {
	_, _ = git(ctx, w.repository, "worktree", "remove", "--force", w.root) // its folder goes below in any case
	_ = os.RemoveAll(filepath.Dir(w.root))
	_, _ = git(ctx, w.repository, "worktree", "prune")
}
