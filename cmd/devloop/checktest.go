package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/assertions/checktest"
	"github.com/devloop-io/devloop/internal/control"
)

// testVerb tests checks themselves.
func testVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "test [FILE…]", Short: "Test checks: calls in, verdicts out, from *.netcheck_test.yaml files",
		Long: `test judges calls that a file makes up, and compares the verdicts with what the file wants: a check can be seen to fail
before anything is built that breaks it. Without files it takes every *.netcheck_test.yaml below the workspace, or below
the current folder. It needs neither daemon nor rights.

  # checkout.netcheck_test.yaml
  checks: checkout.netcheck.yaml
  cases:
    - name: one 503 is one too many
      calls:
        - {from: cart, to: frontend, path: /api/v1/checkout, repeat: 40}
        - {from: cart, to: frontend, path: /api/v1/checkout, status: 503}
      want: {checkout never answers 5xx: fail}`,
		RunE: func(_ *cobra.Command, files []string) error {
			if len(files) == 0 {
				var err error
				if files, err = r.checkTests(); err != nil {
					return err
				}
			}
			return r.testChecks(files)
		},
	}
}

// maxLooked bounds the search for test files.
const maxLooked = 200_000

// checkTests finds the test files of the workspace.
func (r *root) checkTests() ([]string, error) {
	dir, err := r.findWorkspace()
	if err != nil {
		dir = "."
	}
	var files []string
	looked := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read has no tests for us
		}
		if looked++; looked > maxLooked {
			return fs.SkipAll
		}
		name := d.Name()
		if d.IsDir() && path != dir && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "vendor") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".netcheck_test.yaml") {
			files = append(files, path)
		}
		return nil
	})
	if err == nil && len(files) == 0 {
		return nil, control.Usagef("devloop test --help shows what such a file says", fmt.Sprintf("there is no *.netcheck_test.yaml below %s", dir))
	}
	slices.Sort(files)
	return files, err
}

// testChecks runs files of cases and tells how they went.
func (r *root) testChecks(files []string) error {
	cases, failed := 0, 0
	for _, file := range files {
		results, err := checktest.Run(file)
		if err != nil {
			return &control.Error{What: err.Error(), Exit: control.ExitUsage}
		}
		for _, c := range results {
			cases++
			if len(c.Failures) == 0 {
				continue
			}
			failed++
			fmt.Fprintf(r.out, "✗ %s\n  %s:%d\n", harmless(c.Case), file, c.Line)
			for _, f := range c.Failures {
				fmt.Fprintf(r.out, "  %s\n", harmless(f))
			}
		}
	}
	fmt.Fprintf(r.out, "%d of %d cases of %d files passed\n", cases-failed, cases, len(files))
	if failed > 0 {
		return exit(control.ExitFail)
	}
	return nil
}
