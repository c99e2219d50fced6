// Command devloop closes the development loop on the wire: it builds and runs services, captures what they say to each
// other, and judges it against checks. `devloop help` lists its verbs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/devloop-io/devloop/devloop/exercise"
	"github.com/devloop-io/devloop/internal/control"
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run is main with an exit code, so that deferred calls happen.
func run(args []string) (code int) {
	if exercise.Main(args) {
		return 0
	}
	if code, mine := exercise.MainReplay(args); mine {
		return code
	}
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(os.Stderr, "error: devloop panicked: %v\n%s\nhint: this is a bug of devloop; please report it with the lines above\n", p, debug.Stack())
			code = control.ExitBug
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends this command at once
	err := newRoot().command(ctx, args)
	if ctx.Err() != nil {
		return control.ExitInterrupt
	}
	return exitCode(err)
}

// exit is an error that has been told already: only the code is left to say.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitCode tells an error to people and says which exit code it means.
func exitCode(err error) int {
	if err == nil {
		return control.ExitPass
	}
	var code exit
	if errors.As(err, &code) {
		return int(code)
	}
	var known *control.Error
	if errors.As(err, &known) {
		fmt.Fprintln(os.Stderr, "error:", known.What)
		if known.Hint != "" {
			fmt.Fprintln(os.Stderr, "hint:", known.Hint)
		}
		return known.Exit
	}
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Fprintln(os.Stderr, "error: the time given by --timeout is over")
		return control.ExitTimeout
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	return control.ExitUsage
}
