package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// wireDiffVerb says what changed on the wire, without a baseline.
func wireDiffVerb(r *root) *cobra.Command {
	var q control.WireDiffRequest
	c := &cobra.Command{
		Use: "wire-diff [ITERATION]", Short: "Say what changed on the wire since the last revision that passed", Args: cobra.MaximumNArgs(1),
		Long: `wire-diff says what an iteration, the newest by default, does otherwise on the wire than the newest iterations of the last other revision
that passed, or than --since. It needs no baseline and judges nothing: one run tells what changed, not whether that is worse.`,
		Example: "  devloop wire-diff\n  devloop wire-diff i12 --since i8",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.Iteration = args[0]
			}
			return asking[control.WireDiffRequest, traffic.WireDiff]{method: control.WireDiff, show: printWireDiff}.run(r, cmd, &q, nil)
		},
	}
	c.Flags().StringVar(&q.Since, "since", "", "another iteration to compare with")
	c.Flags().IntVar(&q.Limit, "limit", 0, "show at most so many findings; all by default")
	return c
}

// printWireDiff writes what a revision does otherwise on the wire than the last one that passed.
func printWireDiff(w io.Writer, d *traffic.WireDiff) {
	if d == nil {
		return
	}
	if d.Total == 0 {
		fmt.Fprintf(w, "\nwire: as in %s (%s)\n", d.Since, d.Revision)
		return
	}
	fmt.Fprintf(w, "\nwire: %d differences from %s (%s); %d endpoints as before\n", d.Total, d.Since, d.Revision, d.Unchanged)
	for _, f := range d.Findings {
		sign := "~"
		if f.Improved {
			sign = "+"
		}
		fmt.Fprintf(w, "  %s %s\n      %s\n", sign, harmless(f.Where), harmless(findingLine(f)))
	}
	if more := d.Total - len(d.Findings); more > 0 {
		fmt.Fprintf(w, "  … and %d more: devloop wire-diff\n", more)
	}
	if d.Note != "" {
		fmt.Fprintln(w, "  note:", harmless(d.Note))
	}
}
