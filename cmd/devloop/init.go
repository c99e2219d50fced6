package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/scaffold"
)

// initVerb writes devloop.yaml and what goes with it.
func initVerb(r *root) *cobra.Command {
	var yes, show bool
	c := &cobra.Command{
		Use: "init [DIR]", Short: "Write devloop.yaml by looking at the repository, after showing the change", Args: cobra.MaximumNArgs(1),
		Long: `init looks at main packages, start scripts, Python servers, Dockerfiles, manifests, Compose files and ports, and writes devloop.yaml, a first
check file, an entry in .mcp.json, a Makefile fragment and a block in AGENTS.md. Run again, it changes nothing that is
there already.`,
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if r.workspace != "" {
				dir = r.workspace
			}
			if len(args) > 0 {
				dir = args[0]
			}
			dir, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			changes, err := scaffold.Plan(dir)
			if err != nil {
				return err
			}
			return r.apply(dir, changes, yes, show)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "write without asking")
	c.Flags().BoolVar(&show, "print", false, "show the change and write nothing")
	return c
}

// apply shows changes and writes them: after a yes on a terminal, at once where nobody can be asked.
func (r *root) apply(dir string, changes []scaffold.Change, yes, show bool) error {
	var real []scaffold.Change
	for _, c := range changes {
		if diff := c.Diff(); diff != "" {
			fmt.Fprint(r.out, diff)
			real = append(real, c)
		}
	}
	if len(real) == 0 {
		r.say("nothing to change: everything is there already")
		return nil
	}
	if show {
		return nil
	}
	if !yes && interactive() && !confirm(r, fmt.Sprintf("write %d files? [y/N] ", len(real))) {
		r.say("nothing was written")
		return nil
	}
	if err := scaffold.Apply(dir, real); err != nil {
		return err
	}
	for _, c := range real {
		r.say("wrote %s", c.Path)
	}
	return nil
}

// interactive reports whether a person sits at standard input.
func interactive() bool {
	info, err := os.Stdin.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("CI") == ""
}

func confirm(r *root, question string) bool {
	fmt.Fprint(r.err, question)
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n') // the end of input is a no
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(line)), "y")
}
