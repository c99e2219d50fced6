package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// statsVerb shows statistics of calls.
func statsVerb(r *root) *cobra.Command {
	var q query.StatsRequest
	c := selecting(r, "stats [KFL]", "Counts, errors and latency percentiles of calls, by endpoint or another group",
		"  devloop stats\n  devloop stats --by service --order p99\n  devloop stats --by cause 'dst.name == \"payment\"'", &q, &q.Selection,
		asking[query.StatsRequest, query.StatsAnswer]{method: control.GetAPIStats, show: showStats,
			rows: func(a *query.StatsAnswer) []any { return anyRows(a.Stats) }, told: func(a *query.StatsAnswer) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.StringVar(&q.GroupBy, "by", "", "endpoint (default), service, namespace, status, src, dst, proto, node, zone, cause")
	f.StringVar(&q.Order, "order", "", "calls (default), errors, p99")
	f.Int64Var(&q.BucketMS, "bucket-ms", 0, "also by stretches of so many milliseconds")
	f.IntVar(&q.Limit, "limit", 100, "how many groups, at most 1000")
	return c
}

func showStats(w io.Writer, a *query.StatsAnswer) {
	fmt.Fprintln(w, "GROUP\tCALLS\tERRORS\tRATE\tp50\tp90\tp99\tMAX\tCALLS/s\tEXAMPLE")
	total := a.Totals
	total.Group = "(all)"
	for _, s := range append([]query.Stats{total}, a.Stats...) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1f %%\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f ms\t%.2f\t%s\n", printable(s.Group), s.Calls, s.Errors, 100*s.ErrorRate, s.P50, s.P90, s.P99, s.Max, s.PerSecond,
			cmp.Or(s.Example, "-"))
	}
	if len(a.Buckets) > 0 {
		fmt.Fprintln(w, "\nFROM\tCALLS\tERRORS\tp50\tp99")
		for _, b := range a.Buckets {
			fmt.Fprintf(w, "%s\t%d\t%d\t%.2f ms\t%.2f ms\n", time.UnixMilli(b.TS).UTC().Format("15:04:05.000"), b.Calls, b.Errors, b.P50, b.P99)
		}
	}
	if a.Totals.Approximate != "" {
		fmt.Fprintln(w, a.Totals.Approximate)
	}
}
