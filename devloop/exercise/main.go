package exercise

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/devloop-io/devloop/devloop/replay"
	"github.com/devloop-io/devloop/traffic"
)

// Argument is the hidden first argument that makes a process an exercise's.
const Argument = "__exercise"

// Outcome is what an exercise's process answers on its standard output.
type Outcome struct {
	Result traffic.ExerciseResult `json:"result"`
	Error  string                 `json:"error,omitempty"`

	Answers map[int][]replay.Answer `json:"answers,omitempty"` // to replay steps, by the step's index
}

// Main runs an exercise when args, the program's arguments without its name, ask for it: the [Spec] comes as JSON on
// standard input, commands' output goes to standard error and the [Outcome] to standard output. It reports whether
// it did; the caller then ends the process.
func Main(args []string) bool {
	if len(args) == 0 || args[0] != Argument {
		return false
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var spec Spec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		fmt.Fprintln(os.Stderr, "read the exercise from standard input:", err)
		os.Exit(2)
	}
	out := Outcome{Answers: map[int][]replay.Answer{}}
	spec.Answered = func(step int, answers []replay.Answer) { out.Answers[step] = answers }
	var err error
	if out.Result, err = Run(ctx, spec, os.Stderr); err != nil {
		out.Error = err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		fmt.Fprintln(os.Stderr, "write the exercise's outcome:", err)
		os.Exit(1)
	}
	return true
}

// ReadOutcome reads what an exercise's process answered.
func ReadOutcome(r io.Reader) (Outcome, error) {
	var out Outcome
	if err := json.NewDecoder(r).Decode(&out); err != nil {
		return out, fmt.Errorf("read the exercise's outcome: %w", err)
	}
	return out, nil
}
