package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// mapVerb shows who calls whom.
func mapVerb(r *root) *cobra.Command {
	var q query.MapRequest
	c := selecting(r, "map [KFL]", "Who calls whom: edges between services with their calls, errors, latency and bytes",
		"  devloop map\n  devloop map --service payment --depth 2\n  devloop map --by namespace", &q, &q.Selection,
		asking[query.MapRequest, query.ServiceMap]{method: control.GetServiceMap, show: showMap,
			rows: func(a *query.ServiceMap) []any { return anyRows(a.Edges) }, told: func(a *query.ServiceMap) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.StringVar(&q.By, "by", "", "service (default), pod, namespace or node")
	f.StringVar(&q.Service, "service", "", "only edges from or to it")
	f.IntVar(&q.Depth, "depth", 0, "with --service: edges so many steps away; 1 by default")
	return c
}

func showMap(w io.Writer, a *query.ServiceMap) {
	fmt.Fprintln(w, "SRC\tDST\tPROTOCOLS\tCALLS\tERRORS\tp50\tp99\tCONNS\tBYTES\tENDPOINT")
	for _, e := range a.Edges {
		endpoint := "-"
		if len(e.Endpoints) > 0 {
			endpoint = printable(e.Endpoints[0])
		}
		if more := len(e.Endpoints) - 1; more > 0 {
			endpoint += fmt.Sprintf(" and %d more", more)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.2f ms\t%.2f ms\t%d\t%d\t%s\n", printable(e.Src), printable(e.Dst), joined(e.Protocols), e.Calls, e.Errors, e.P50, e.P99, e.Connections, e.Bytes, endpoint)
	}
}
