package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// flakesVerb shows which checks cannot be relied on.
func flakesVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "flakes", Short: "How often each check's verdict flipped while the code stayed as it was", Args: cobra.NoArgs,
		Long: `flakes shows the ledger of verdicts: for each check how many runs were judged, in how many of them builds and exercise were those of the run
before, and how often the verdict was another one all the same. From 0.2 flips a chance, over 4 chances, a check is called flaky;
quarantine: {owner, reason, until} in its file keeps it from gating until a day that somebody answers for, and the line to write is printed. No check
goes there by itself.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asking[struct{}, control.FlakesAnswer]{method: control.Flakes, show: printFlakes}.run(r, cmd, &struct{}{}, nil)
		},
	}
}

func printFlakes(w io.Writer, a *control.FlakesAnswer) {
	if len(a.Checks) == 0 {
		fmt.Fprintln(w, "nothing has been judged yet: devloop run")
		return
	}
	fmt.Fprintln(w, "CHECK\tRUNS\tSAME CODE\tFLIPS\tSCORE\tLAST FLIP")
	for _, f := range a.Checks {
		name := f.Check
		if f.Group != "" {
			name += " [" + f.Group + "]"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.2f\t%s\n", harmless(name), f.Runs, f.Chances, f.Flips, f.Score, f.Flipped)
	}
	for _, f := range a.Checks {
		if f.Flaky {
			fmt.Fprintln(w, "flaky:", harmless(f.Check))
			for line := range strings.Lines(f.Next) {
				fmt.Fprintln(w, harmless(strings.TrimRight(line, "\n")))
			}
		}
	}
}
