package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// replayVerb sends recorded requests again.
func replayVerb(r *root) *cobra.Command {
	var (
		q       control.ReplayRequest
		factor  float64
		headers []string
	)
	c := &cobra.Command{
		Use: "replay [KFL]", Short: "Send recorded requests to the present code, and compare the answers", Args: cobra.MaximumNArgs(1),
		Long: `replay takes the HTTP calls of an iteration or snapshot that nothing inside of the system caused, or those that a KFL selects, sends
them to the services as they are now, and compares statuses, headers that clients act on, and the fields of JSON bodies. What
differed between recorded answers to one and the same request is noise; values are compared where a request was recorded twice.

Only idempotent methods are sent unless --all. Rows hold no secrets: requests whose headers had one need it given, by --header or in
$DEVLOOP_REPLAY_HEADER. What could not be sent is listed with its reason.`,
		Example: "  devloop replay\n  DEVLOOP_REPLAY_HEADER='Authorization: Bearer …' devloop replay --from i7 --factor 0 'http && dst.service.name == \"catalogue\"'",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if len(args) > 0 {
				q.KFL = args[0]
			}
			q.Factor = &factor
			if given := os.Getenv("DEVLOOP_REPLAY_HEADER"); given != "" {
				headers = append(strings.Split(given, "\n"), headers...)
			}
			for _, h := range headers {
				name, value, ok := strings.Cut(h, ":")
				if !ok || strings.TrimSpace(name) == "" {
					return control.Usagef("--header 'Authorization: Bearer …'", "a header has a name, a colon and a value")
				}
				if q.Headers == nil {
					q.Headers = map[string]string{}
				}
				q.Headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := control.ReplayRun.Ask(ctx, c, q, (&progress{r: r}).event)
			if err != nil {
				return timedOut(ctx, err)
			}
			if !r.text() {
				err = r.json(a)
			} else {
				r.printReplay(a)
			}
			if err == nil && a.ExitCode != 0 {
				return exit(a.ExitCode)
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&q.Snapshot, "from", "", "iteration or snapshot whose requests are sent; the newest with traffic by default")
	f.Float64Var(&factor, "factor", 1, "of the recorded pauses: 0.5 is twice as fast, 0 leaves them out")
	f.IntVar(&q.Concurrency, "concurrency", 0, "requests at once at most; 8 by default")
	f.BoolVar(&q.All, "all", false, "also send methods that are not idempotent, such as POST")
	f.StringArrayVar(&headers, "header", nil, "header for every request, instead of a recorded one; secrets are better given in $DEVLOOP_REPLAY_HEADER, one a line")
	whereFlags(f, &q.Where)
	return c
}

func (r *root) printReplay(a *control.ReplayAnswer) {
	w := r.out
	fmt.Fprintf(w, "%d requests of %s sent in %s (%s): %d answers as recorded\n", a.Sent, a.From, a.Iteration, a.Revision, a.Same)
	for _, f := range a.Findings {
		fmt.Fprintf(w, "  ✗ %s  %s: %s → %s  in %d of %d  (%s)\n", printable(f.Endpoint), printable(f.What), printable(f.Recorded), printable(f.Now), f.N, f.Of, f.Example)
	}
	for _, s := range a.Skipped {
		fmt.Fprintf(w, "  - %d not sent: %s  (%s)\n", s.N, harmless(s.Why), s.Example)
	}
	for _, n := range a.Noise {
		fmt.Fprintf(w, "  ~ noise: %s\n", printable(n))
	}
	for _, u := range a.Unsure {
		fmt.Fprintf(w, "  ? values not compared, no request was recorded twice: %s\n", printable(u))
	}
	fmt.Fprintln(w, "verdict:", a.Verdict)
}
