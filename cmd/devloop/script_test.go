package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"devloop": func() { os.Exit(run(os.Args[1:])) }})
}

// TestScripts runs the command line as its users do. Each script says on top what it checks.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_RUNTIME_DIR", e.WorkDir+"/run")
			e.Setenv("HOME", e.WorkDir)
			return captures(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// captures gives every script one GET of /items that 10.0.0.1 asks 10.0.0.2, answered 200, and the same cut off inside a
// packet before the answer; and calls of gRPC.
func captures(dir string) error {
	calls, err := os.ReadFile("../../dissect/testdata/grpc/input.pcapng")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "grpc.pcapng"), calls, 0o600)
	}
	if err != nil {
		return err
	}
	b, err := os.ReadFile("../../dissect/testdata/get/input.pcapng")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "get.pcapng"), b, 0o600), os.WriteFile(filepath.Join(dir, "cut.pcapng"), b[:700], 0o600))
}

// exits runs a command and compares its exit code: exits 4 devloop check …
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	code := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", args[1], err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}
