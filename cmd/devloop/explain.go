package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// explainVerb shows the proof behind a verdict.
func explainVerb(r *root) *cobra.Command {
	var request control.EvidenceRequest
	c := &cobra.Command{
		Use: "explain CHECK", Short: "The calls and packets behind a check's verdict",
		Example: "  devloop explain no-n-1\n  devloop explain --iteration i12 checkout-never-answers-5xx",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			request.Check = args[0]
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := c.Evidence(ctx, request)
			if err != nil {
				return err
			}
			if !r.text() {
				return r.json(a)
			}
			printEvidence(r, a)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&request.Iteration, "iteration", "", "iteration to look at; the newest with traffic by default")
	f.IntVar(&request.Limit, "limit", 5, "how many calls")
	f.BoolVar(&request.Raw, "raw", false, "write the packets unmasked")
	return c
}

func printEvidence(r *root, a *control.EvidenceAnswer) {
	c := a.Check
	fmt.Fprintf(r.out, "%s %s: %s\n", c.Verdict.Sign(), checkName(c), c.Verdict)
	if c.File != "" {
		fmt.Fprintf(r.out, "  %s:%d\n", c.File, c.Line)
	}
	fmt.Fprintf(r.out, "  on      %s\n  expect  %s\n  %s (n=%d %s)\n", c.On, strings.TrimSpace(c.Expect), harmless(c.Reason), c.N, c.Unit)
	for _, t := range c.Terms {
		fmt.Fprintf(r.out, "  %s = %s%s (n=%d)\n", t.Text, t.Value, interval(t.Low, t.High), t.N)
	}
	for _, v := range c.Vacuous {
		fmt.Fprintf(r.out, "  vacuous: %s\n", v)
	}
	if c.Loss != "" {
		fmt.Fprintf(r.out, "  %s\n", c.Loss)
	}
	if len(c.Evidence) > 0 {
		fmt.Fprintf(r.out, "\nevidence (%d of %d; iteration %s):\n", len(c.Evidence), max(c.EvidenceTotal, len(c.Evidence)), a.Iteration)
	}
	for _, e := range c.Evidence {
		fmt.Fprintf(r.out, "  %s  packets %d-%d\n    %s\n", e.Call, e.Packets.First, e.Packets.Last, harmless(e.Summary))
	}
	for _, call := range a.Calls {
		if b, err := json.MarshalIndent(call, "  ", "  "); err == nil {
			fmt.Fprintf(r.out, "\n  %s\n", b)
			break // one in full; -o json has the others
		}
	}
	fmt.Fprintln(r.out)
	for _, command := range a.Commands {
		fmt.Fprintln(r.out, "again:", command)
	}
}

func interval(low, high string) string {
	if low == "" && high == "" {
		return ""
	}
	return " [" + low + " … " + high + "]"
}
