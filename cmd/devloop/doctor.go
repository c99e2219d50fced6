package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
)

// doctorVerb says which capture source works here and why not a better one.
func doctorVerb(r *root) *cobra.Command {
	var want, where string
	c := &cobra.Command{
		Use: "doctor", Short: "Which capture source works here, why not a better one, and the command that would fix it", Args: cobra.NoArgs,
		Long: `Looks at what the workspace's environment needs. In a local one: the kernel, rights, and whether services can be kept apart.
In kind or a cluster: the container engine and the node image, or the kubeconfig's context; the rights of its user; and the
nodes' agents. Nothing is made or changed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			a, err := r.examine(ctx, where)
			if err != nil {
				return err
			}
			if !r.text() {
				if err := r.json(a); err != nil {
					return err
				}
			} else {
				printDoctor(r, a)
			}
			switch {
			case want != "" && a.Source != want:
				return &control.Error{What: fmt.Sprintf("capture would use %s, not %s: %s", a.Source, want, a.Why), Hint: a.Fix, Exit: control.ExitEnvironment}
			case a.Source == "none":
				return exit(control.ExitEnvironment)
			}
			return nil
		},
	}
	c.Flags().StringVar(&want, "require", "", "fail unless this source would be used: tap, afpacket or agent")
	c.Flags().StringVar(&where, "env", "", "local, kind or cluster, instead of what devloop.yaml says")
	_ = c.RegisterFlagCompletionFunc("env", cobra.FixedCompletions([]string{"local", kindenv.Kind, kindenv.Cluster}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// examine asks the daemon about a cluster that it works in, and looks itself otherwise. Without a workspace it looks at
// this machine.
func (r *root) examine(ctx context.Context, where string) (*control.DoctorAnswer, error) {
	switch where {
	case "", "local", kindenv.Kind, kindenv.Cluster:
	default:
		return nil, control.Usagef("--env local, kind or cluster", fmt.Sprintf("there is no environment %q", where))
	}
	workspace, err := r.findWorkspace()
	if err != nil {
		if where == kindenv.Kind || where == kindenv.Cluster {
			return nil, err
		}
		return devloop.Doctor(), nil
	}
	cfg, err := config.Load(workspace)
	if err != nil { // a broken file is for devloop config to explain
		return devloop.Doctor(), nil
	}
	if c, st, err := dialWorkspace(ctx, workspace); err == nil && st.Running && st.Environment != "local" && (where == "" || where == st.Environment) {
		return c.Doctor(ctx)
	}
	return devloop.DoctorFor(ctx, workspace, cfg, where), nil
}

func printDoctor(r *root, a *control.DoctorAnswer) {
	for _, f := range a.Facts {
		mark := "✓"
		if !f.OK {
			mark = "✗"
		}
		fmt.Fprintf(r.out, "%s %-28s %s\n", mark, f.Name, f.Detail)
		if f.Fix != "" && !f.OK {
			fmt.Fprintf(r.out, "  fix: %s\n", f.Fix)
		}
	}
	fmt.Fprintf(r.out, "\ncapture: %s%s\n", a.Source, because(a.Why))
	fmt.Fprintf(r.out, "services: %s\n", cmp.Or(a.Mode, "not on this operating system"))
	if a.Fix != "" {
		fmt.Fprintf(r.out, "fix: %s\n", a.Fix)
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + why + ")"
}
