package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// traceVerb shows the tree of calls that a call belongs to.
func traceVerb(r *root) *cobra.Command {
	var request control.TraceRequest
	c := &cobra.Command{
		Use: "trace [CALL-ID]", Short: "The calls that a call caused, as a tree, with self times and the critical path",
		Long: `Shows the tree of a call from its topmost ancestor; without a call, the tree of the slowest one that no other caused.
A parent is found by trace context where there is one, else by nesting in time on the same service; nesting(3) says that three
calls could be the parent and this one is the likeliest. * marks the critical path: the calls that the answer waited for.`,
		Example: "  devloop trace\n  devloop trace local/1f3a/0\n  devloop trace --iteration i12 -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if len(args) > 0 {
				request.ID = args[0]
			}
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := c.Trace(ctx, request)
			if err != nil {
				return err
			}
			switch r.output {
			case "json":
				return r.json(a)
			case "jsonl":
				return r.traceLines(a.Root)
			}
			return printTrace(r, a)
		},
	}
	f := c.Flags()
	f.StringVar(&request.Iteration, "iteration", "", "iteration to look at; the newest with traffic by default")
	f.IntVar(&request.Limit, "limit", 200, "how many calls of the tree, at most 1000")
	return c
}

// traceLines writes one call a line, parents first.
func (r *root) traceLines(n *traffic.TraceNode) error {
	line := *n
	line.Children = nil
	if err := r.json(line); err != nil {
		return err
	}
	for _, child := range n.Children {
		if err := r.traceLines(child); err != nil {
			return err
		}
	}
	return nil
}

func printTrace(r *root, a *control.TraceAnswer) error {
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "CALL\tSTATUS\tSTART\tLATENCY\tSELF\tPARENT BY\tID")
	printNode(t, a.Root, "", "")
	if err := t.Flush(); err != nil {
		return err
	}
	if a.Omitted > 0 {
		r.say("%d more calls; --limit shows up to 1000", a.Omitted)
	}
	return nil
}

// printNode writes a call and those below it. Lines begin with first, and below it with rest.
func printNode(t *tabwriter.Writer, n *traffic.TraceNode, first, rest string) {
	mark := " "
	if n.Critical {
		mark = "*"
	}
	fmt.Fprintf(t, "%s %s%s\t%s\t+%.1f ms\t%.1f ms\t%s\t%s\t%s\n", mark, first, nodeName(n), nodeStatus(n), n.Start, n.Latency, nodeSelf(n), nodeParent(n), nodeID(n))
	for i, child := range n.Children {
		if i == len(n.Children)-1 {
			printNode(t, child, rest+"└─ ", rest+"   ")
		} else {
			printNode(t, child, rest+"├─ ", rest+"│  ")
		}
	}
}

const longestName = 60 // of what was asked, in characters

// nodeName is "orders GET /orders/{id}".
func nodeName(n *traffic.TraceNode) string {
	asked := []rune(strings.Join(strings.Fields(printable(n.Method)+" "+printable(cmp.Or(n.Route, n.Path))), " "))
	if len(asked) > longestName {
		asked = append(asked[:longestName-1], '…')
	}
	name := printable(n.Service) + " " + string(asked)
	if n.Attempt > 1 {
		name += fmt.Sprintf(" (attempt %d)", n.Attempt)
	}
	return name
}

func nodeStatus(n *traffic.TraceNode) string {
	if n.State != traffic.StateComplete {
		return strings.TrimSpace(string(n.State) + " " + n.Error)
	}
	return fmt.Sprint(n.Status)
}

// nodeSelf is empty where there is no whole answer: then it is not known.
func nodeSelf(n *traffic.TraceNode) string {
	if n.State != traffic.StateComplete {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", n.Self)
}

func nodeParent(n *traffic.TraceNode) string {
	switch {
	case n.ParentBy == "":
		return "-"
	case n.Candidates > 1:
		return fmt.Sprintf("%s(%d)", n.ParentBy, n.Candidates)
	}
	return n.ParentBy
}

func nodeID(n *traffic.TraceNode) string {
	if n.Asked {
		return n.Call + "  ←"
	}
	return n.Call
}
