package devloop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/devloop-io/devloop/devloop/exercise"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// chooseExercise is the named one, else the default, else the first by name.
func chooseExercise(cfg *config.Config, name string) (string, config.Exercise, error) {
	names := slices.Sorted(maps.Keys(cfg.Exercises))
	if name != "" {
		e, ok := cfg.Exercises[name]
		if !ok {
			return "", e, fmt.Errorf("no exercise is named %q; there are: %s", name, strings.Join(names, ", "))
		}
		return name, e, nil
	}
	for _, n := range names {
		if cfg.Exercises[n].Default {
			return n, cfg.Exercises[n], nil
		}
	}
	if len(names) == 0 {
		return "", config.Exercise{}, fmt.Errorf("devloop.yaml names no exercise")
	}
	return names[0], cfg.Exercises[names[0]], nil
}

const exerciseHint = "name one in devloop.yaml, or wrap your tests: devloop run -- go test ./..."

// runExercise runs an exercise in a process of its own, in its own cgroup and network namespace.
func (s *Session) runExercise(ctx context.Context, t *turn) (*traffic.ExerciseResult, error) {
	name, e, err := chooseExercise(s.config(), t.r.Exercise)
	if err != nil {
		return nil, failed(control.ExitUsage, traffic.Failure{
			Phase: "exercise", What: err.Error(), Hint: exerciseHint,
		})
	}
	env := s.environment()
	e.Steps = reachable(e.Steps, env)
	spec, err := json.Marshal(exercise.Spec{Name: name, Iteration: t.it.ID, Dir: s.workspace, Exercise: e, Replays: t.plans(env)})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program to run the exercise with: %w", err)
	}
	var stdout bytes.Buffer
	output := &lines{tell: func(text string) { s.publish(t.r, control.Event{Output: text}) }}
	_, runErr := env.Drive(ctx, drive{
		argv: []string{self, exercise.Argument}, dir: s.workspace, stdin: bytes.NewReader(spec), stdout: &stdout, stderr: output,
	})
	out, err := exercise.ReadOutcome(&stdout)
	if err != nil {
		return nil, failed(control.ExitEnvironment, traffic.Failure{
			Phase: "exercise", What: fmt.Sprintf("exercise %s did not finish: %v", name, cmp.Or(runErr, err)), Output: output.tail.String(),
		})
	}
	if told := t.tellReplays(e, &out.Result, out.Answers); told != nil && out.Error == "" {
		return &out.Result, told
	}
	if out.Error != "" {
		return &out.Result, failed(control.ExitFail, traffic.Failure{
			Phase: "exercise", What: out.Error, Output: lastOutput(out.Result), Hint: "devloop calls shows what was sent and answered",
		})
	}
	return &out.Result, nil
}

// reachable are the steps with the addresses that answer in this environment.
func reachable(steps []config.Step, env environment) []config.Step {
	steps = slices.Clone(steps)
	for i, step := range steps {
		steps[i].Run = env.Reach(step.Run)
		if step.HTTP != nil {
			h := *step.HTTP
			h.URL = env.Reach(h.URL)
			steps[i].HTTP = &h
		}
	}
	return steps
}

func lastOutput(r traffic.ExerciseResult) string {
	if len(r.Steps) == 0 {
		return ""
	}
	return r.Steps[len(r.Steps)-1].Output
}

// runCommand wraps somebody's own suite: its exit code counts, and the checks judge its traffic.
func (s *Session) runCommand(ctx context.Context, t *turn) (*traffic.ExerciseResult, error) {
	began := time.Now()
	line := strings.Join(t.r.Command, " ")
	output := &lines{tell: func(text string) { s.publish(t.r, control.Event{Output: text}) }}
	code, err := s.environment().Drive(ctx, drive{
		argv: t.r.Command, env: append(slices.Clone(t.r.Env), "DEVLOOP_ITERATION="+t.it.ID), dir: cmp.Or(t.r.Dir, s.workspace),
		stdout: output, stderr: output,
	})
	result := &traffic.ExerciseResult{Name: line, ExitCode: code, Steps: []traffic.StepResult{{
		Step: "run " + line, ExitCode: code, Output: output.tail.String(), NS: time.Since(began).Nanoseconds(),
	}}}
	if err == nil {
		return result, nil
	}
	if code <= 0 {
		return result, failed(control.ExitEnvironment, traffic.Failure{
			Phase: "exercise", What: fmt.Sprintf("run %s: %v", line, err), Output: output.tail.String(),
		})
	}
	return result, failed(code, traffic.Failure{
		Phase: "exercise", What: fmt.Sprintf("%s exited with %d", line, code), Output: output.tail.String(),
	})
}

func (s *Session) environment() environment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.env
}

// lines passes output on and keeps its tail.
type lines struct {
	tell func(string)
	tail exercise.Tail
}

var _ io.Writer = (*lines)(nil)

// Write passes output on.
func (l *lines) Write(p []byte) (int, error) {
	if l.tail.Max == 0 {
		l.tail.Max = 16 << 10
	}
	l.tell(string(p))
	return l.tail.Write(p)
}
