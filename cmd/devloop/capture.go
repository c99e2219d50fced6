package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// captureVerb is the folder of what looks at capture and changes it.
func captureVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "capture", Short: "What is captured in a cluster, and by whom"}
	c.AddCommand(captureStatusVerb(r), captureConfigureVerb(r), captureStartVerb(r), captureStopVerb(r))
	return c
}

func captureStatusVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Which pods, namespaces and ports are captured, and how the nodes' agents are", Args: cobra.NoArgs,
		Long: `Shows what is captured. Of each node's agent: its source and why it is not a better one, packets recorded and lost since
it started, memory, and what its ring holds. In the local environment every service is captured.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.captured(cmd, func(ctx context.Context, c *control.Client) (*control.CaptureStatus, error) { return c.Capture(ctx) })
		},
	}
}

func captureConfigureVerb(r *root) *cobra.Command {
	var t control.CaptureTargets
	c := &cobra.Command{
		Use: "configure", Short: "Choose the pods and ports that are captured from now on", Args: cobra.NoArgs,
		Long: `Replaces the whole choice: without flags the workspace's own pods are captured again. Not while an iteration runs; its
verdict would miss traffic. Iterations say in their warnings which pods of the workspace are left out.`,
		Example: "  devloop capture configure --namespace shop --namespace billing\n  devloop capture configure --namespace '*' --exclude-namespace monitoring\n" +
			"  devloop capture configure --pod-regex '^cart-' --label tier=backend --port 8080\n  devloop capture configure",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.captured(cmd, func(ctx context.Context, c *control.Client) (*control.CaptureStatus, error) {
				return c.ConfigureCapture(ctx, t)
			})
		},
	}
	targetFlags(c, &t)
	return c
}

func captureStartVerb(r *root) *cobra.Command {
	var t control.CaptureTargets
	c := &cobra.Command{
		Use: "start", Short: "Go on capturing after devloop capture stop", Args: cobra.NoArgs,
		Long: "Captures what was captured before, or what the flags choose.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			request := control.SwitchRequest{On: true}
			for _, name := range targetFlagNames {
				if cmd.Flags().Changed(name) {
					request.Targets = &t
				}
			}
			return r.captured(cmd, func(ctx context.Context, c *control.Client) (*control.CaptureStatus, error) {
				return c.SwitchCapture(ctx, request)
			})
		},
	}
	targetFlags(c, &t)
	return c
}

func captureStopVerb(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Record nothing until devloop capture start", Args: cobra.NoArgs,
		Long: `The nodes' agents stay and record nothing; what was sealed stays. Runs meanwhile build and deploy, and then fail with exit
code 3: what nobody saw is not a pass, and whoever stopped capture had a reason.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.captured(cmd, func(ctx context.Context, c *control.Client) (*control.CaptureStatus, error) {
				return c.SwitchCapture(ctx, control.SwitchRequest{})
			})
		},
	}
}

var targetFlagNames = []string{"namespace", "exclude-namespace", "pod-regex", "label", "port"}

// targetFlags are the flags that choose pods.
func targetFlags(c *cobra.Command, t *control.CaptureTargets) {
	f := c.Flags()
	f.StringSliceVar(&t.Namespaces, "namespace", nil, "only this namespace; may be repeated; '*' means all but the cluster's own; the workspace's by default")
	f.StringSliceVar(&t.Excluded, "exclude-namespace", nil, "not this namespace; may be repeated")
	f.StringVar(&t.PodRegex, "pod-regex", "", "only pods whose name this regular expression matches somewhere")
	f.StringToStringVar(&t.Labels, "label", nil, "only pods with this label, as k=v; may be repeated")
	f.Var((*ports)(&t.Ports), "port", "only packets of this TCP or UDP port; may be repeated")
	for _, name := range targetFlagNames {
		_ = c.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// ports is a list of port numbers as a flag.
type ports []uint16

// String is the ports with commas.
func (p *ports) String() string {
	if len(*p) == 0 {
		return ""
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint([]uint16(*p)), "[]"), " ", ",")
}

// Set adds ports with commas between them.
func (p *ports) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		var n uint16
		if _, err := fmt.Sscan(word, &n); err != nil || n == 0 || fmt.Sprint(n) != strings.TrimSpace(word) {
			return fmt.Errorf("%q is no port: 1 to 65535", word)
		}
		*p = append(*p, n)
	}
	return nil
}

// Type is for help.
func (p *ports) Type() string { return "ports" }

// captured asks the workspace's daemon, which has to be there, and shows its answer.
func (r *root) captured(cmd *cobra.Command, ask func(context.Context, *control.Client) (*control.CaptureStatus, error)) error {
	ctx, cancel := r.bounded(cmd.Context())
	defer cancel()
	c, _, err := r.dial(ctx)
	if errors.Is(err, control.ErrNoDaemon) {
		return &control.Error{What: err.Error(), Hint: "devloop up", Exit: control.ExitEnvironment}
	}
	if err != nil {
		return err
	}
	st, err := ask(ctx, c)
	if err != nil {
		return err
	}
	if !r.text() {
		return r.json(st)
	}
	return printCapture(r.out, st)
}

func printCapture(w io.Writer, st *control.CaptureStatus) error {
	fmt.Fprintf(w, "capture %s, environment %s", st.State, st.Environment)
	if st.Source != "" {
		fmt.Fprintf(w, ", source %s", st.Source)
	}
	fmt.Fprintln(w, because(printable(st.Why)))
	if t := st.Targets; t != nil {
		fmt.Fprintln(w, "targets:", targetsText(t))
	}
	for _, list := range []struct {
		name  string
		items []string
	}{{"services", st.Services}, {"namespaces", st.Namespaces}, {"pods", st.Pods}} {
		if len(list.items) > 0 {
			fmt.Fprintf(w, "%s: %s\n", list.name, strings.Join(list.items, ", "))
		}
	}
	if len(st.Nodes) > 0 {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "NODE\tSOURCE\tPACKETS\tDROPPED\tMEMORY\tRING\tSINCE\tHEALTH")
		for _, n := range st.Nodes {
			fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s of %s\t%s\t%s\n", n.Name, cmp.Or(n.Source, "-"), n.Packets, n.Dropped, mebibytes(n.RSS),
				mebibytes(n.RingBytes), mebibytes(n.RingLimit), since(n.Oldest), nodeHealth(n))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for _, warning := range st.Warnings {
		fmt.Fprintln(w, "warning:", printable(warning))
	}
	_, err := fmt.Fprintln(w, "next:", st.Next)
	return err
}

// targetsText is the choice as the flags that make it.
func targetsText(t *control.CaptureTargets) string {
	var words []string
	for _, n := range t.Namespaces {
		words = append(words, "--namespace "+n)
	}
	for _, n := range t.Excluded {
		words = append(words, "--exclude-namespace "+n)
	}
	if t.PodRegex != "" {
		words = append(words, "--pod-regex "+t.PodRegex)
	}
	for _, k := range slices.Sorted(maps.Keys(t.Labels)) {
		words = append(words, "--label "+k+"="+t.Labels[k])
	}
	for _, p := range t.Ports {
		words = append(words, fmt.Sprint("--port ", p))
	}
	return strings.Join(words, " ")
}

func nodeHealth(n control.CaptureNode) string {
	switch {
	case !n.OK:
		return "not well: " + printable(n.Problem)
	case n.Degraded != "":
		return "degraded: " + printable(n.Degraded)
	}
	return "well"
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// since is the local time of day of a Unix time in milliseconds.
func since(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("15:04:05")
}
