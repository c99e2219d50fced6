package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/internal/control"
)

// doctorVerb says which capture source works here and why not a better one.
func doctorVerb(r *root) *cobra.Command {
	var want string
	c := &cobra.Command{
		Use: "doctor", Short: "Which capture source works here, why not a better one, and the command that would fix it", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a := devloop.Doctor()
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
	c.Flags().StringVar(&want, "require", "", "fail unless this source would be used: tap or afpacket")
	return c
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
