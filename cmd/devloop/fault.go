package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// faultVerb damages what services say to each other.
func faultVerb(r *root) *cobra.Command {
	c := &cobra.Command{
		Use: "fault", Short: "Faults between services that know nothing of them: set, list, clear",
		Long: `fault damages the traffic from one service to another in the local environment. Neither service is changed or restarted. While a
fault is there, devloop status and the warnings of every iteration say so. It ends by itself, with fault clear, and with devloop down.`,
	}
	c.AddCommand(faultSet(r), faultList(r), faultClear(r))
	return c
}

func faultSet(r *root) *cobra.Command {
	var (
		q            control.FaultRequest
		lasts, delay time.Duration
	)
	c := &cobra.Command{
		Use: "set", Short: "Begin a fault", Args: cobra.NoArgs,
		Long: `set begins a fault. The kinds: latency (requests wait), status (HTTP/1 requests are answered without the server), refuse
(connections are refused), reset (the connection is reset when the client asks), stall (no answer, and the connection stays open),
truncate (the connection ends within an answer), drop (packets are lost both ways).`,
		Example: "  devloop fault set --from checkout --to payment --kind latency --delay 300ms\n  devloop fault set --from checkout --to payment:8080 --kind status --status 503 --rate 0.1 --for 2m",
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Seconds, q.DelayMS = lasts.Seconds(), float64(delay)/float64(time.Millisecond)
			if q.Rate == 0 || q.Seconds == 0 || q.DelayMS == 0 || q.Status == 0 { // in a request that is the default
				return control.Usagef("devloop fault set --help", "--rate, --for, --delay and --status are more than 0")
			}
			return asking[control.FaultRequest, control.Fault]{method: control.FaultSet, show: func(w io.Writer, a *control.Fault) {
				fmt.Fprintf(w, "%s: %s on %s → %s:%d until %s\nnext: devloop run; devloop fault clear %s\n", a.ID, a.What, a.From, a.To, a.Port,
					time.Unix(0, a.UntilNS).Format(time.TimeOnly), a.ID)
			}}.run(r, cmd, &q, nil)
		},
	}
	f := c.Flags()
	f.StringVar(&q.From, "from", "", "service that asks; exercise is what drives the services")
	f.StringVar(&q.To, "to", "", "service that is asked, with :PORT where it declares several")
	f.StringVar(&q.Kind, "kind", "", "latency, status, refuse, reset, stall, truncate or drop")
	f.Float64Var(&q.Rate, "rate", 1, "share of the requests that meet it; of the connections with refuse, of the packets with drop")
	f.DurationVar(&lasts, "for", time.Minute, "it ends by itself after that, at most 1h")
	f.DurationVar(&delay, "delay", 200*time.Millisecond, "of latency, at most 30s")
	f.IntVar(&q.Status, "status", 503, "of status")
	f.Uint64Var(&q.Seed, "seed", 0, "which requests meet it; refuse and drop leave that to the kernel")
	return c
}

func faultList(r *root) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The faults that are there, and those that ended lately", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return asking[struct{}, control.FaultsAnswer]{method: control.FaultList, show: printFaults}.run(r, cmd, &struct{}{}, nil)
		},
	}
}

func faultClear(r *root) *cobra.Command {
	var q control.FaultClearRequest
	c := &cobra.Command{
		Use: "clear [ID]", Short: "End a fault, or all, and verify it", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.ID = args[0]
			}
			return asking[control.FaultClearRequest, control.FaultsAnswer]{method: control.FaultClear, show: func(w io.Writer, a *control.FaultsAnswer) {
				for _, f := range a.Faults {
					fmt.Fprintf(w, "%s (%s on %s → %s:%d) is cleared\n", f.ID, f.What, f.From, f.To, f.Port)
				}
			}}.run(r, cmd, &q, nil)
		},
	}
	c.Flags().BoolVar(&q.All, "all", false, "all faults")
	return c
}

func printFaults(t io.Writer, a *control.FaultsAnswer) {
	if len(a.Faults) == 0 {
		fmt.Fprintln(t, "no faults: devloop fault set")
		return
	}
	fmt.Fprintln(t, "ID\tFROM\tTO\tWHAT\tENDS\tMET\tNOTE")
	for _, f := range a.Faults {
		ends, met := time.Unix(0, f.UntilNS).Format(time.TimeOnly), "-"
		if f.EndedNS != 0 {
			ends = "ended " + time.Unix(0, f.EndedNS).Format(time.TimeOnly)
		}
		if f.Kind != "refuse" && f.Kind != "drop" {
			met = fmt.Sprintf("%d of %d", f.Hit, f.Seen)
		}
		fmt.Fprintf(t, "%s\t%s\t%s:%d\t%s\t%s\t%s\t%s\n", f.ID, f.From, f.To, f.Port, f.What, ends, met, f.Note)
	}
}
