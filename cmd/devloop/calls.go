package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

// callsVerb lists calls.
func callsVerb(r *root) *cobra.Command {
	q := query.CallsRequest{}
	var full bool
	x := asking[query.CallsRequest, query.CallsAnswer]{method: control.ListAPICalls, show: showCalls,
		rows: func(a *query.CallsAnswer) []any { return a.Calls }, told: func(a *query.CallsAnswer) *query.Reading { return &a.Reading },
		more: func(a *query.CallsAnswer) page { return page{len(a.Calls), a.Total, a.TotalIsLeast, a.Cursor} }}
	c := listing(r, "calls [KFL]", "The calls of an iteration that a filter selects, newest first",
		"  devloop calls 'http && status_code >= 500'\n  devloop calls --full -o jsonl 'dst.service.name == \"payment\"'\n  devloop calls --db live --order slowest", &q, &q.Selection, x,
		func() {
			if full {
				q.Format = "full"
			}
		})
	f := c.Flags()
	f.IntVar(&q.Limit, "limit", 100, "how many rows, at most 1000")
	f.StringVar(&q.Cursor, "cursor", "", "where to go on: the cursor of the answer before")
	f.StringVar(&q.Order, "order", "", "newest (default), oldest, slowest")
	f.BoolVar(&full, "full", false, "headers, bodies and ids too")
	return c
}

// flowsVerb lists flows.
func flowsVerb(r *root) *cobra.Command {
	q := query.FlowsRequest{}
	var connections bool
	x := asking[query.FlowsRequest, query.FlowsAnswer]{method: control.ListL4Flows,
		show: func(w io.Writer, a *query.FlowsAnswer) { showFlows(w, a, connections) },
		rows: func(a *query.FlowsAnswer) []any {
			if connections {
				return anyRows(connectionsOf(a))
			}
			return a.Flows
		},
		told: func(a *query.FlowsAnswer) *query.Reading { return &a.Reading },
		more: func(a *query.FlowsAnswer) page { return page{len(a.Flows), a.Total, false, a.Cursor} }}
	c := listing(r, "flows [KFL]", "Who spoke to whom, how much, with handshake times; most bytes first",
		"  devloop flows\n  devloop flows --by namespace\n  devloop flows --connections -o jsonl", &q, &q.Selection, x,
		func() {
			if connections {
				q.Format = "raw"
			}
		})
	f := c.Flags()
	f.IntVar(&q.Limit, "limit", 100, "how many flows, at most 1000")
	f.StringVar(&q.Cursor, "cursor", "", "where to go on: the cursor of the answer before")
	f.StringVar(&q.Order, "order", "", "bytes (default), handshake, retransmissions, connections")
	f.StringVar(&q.Aggregate, "by", "", "one row for each pair of pods (pod), namespaces (namespace), nodes (node) or services (service)")
	f.BoolVar(&connections, "connections", false, "the connections of these flows with their TCP metrics, at most 100 of each")
	return c
}

// listing is a verb that lists rows of the newest iteration where no other traffic is named. Ready is called before it asks.
func listing[Request, Answer any](r *root, use, short, example string, q *Request, s *query.Selection, x asking[Request, Answer], ready func()) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kflArgument(s, args)
			if s.DB == "" && s.Snapshot == "" {
				s.Snapshot = query.Newest
			}
			ready()
			return x.run(r, cmd, q, args)
		},
	}
	scopeFlags(c.Flags(), &s.Scope)
	c.Flags().Lookup("iteration").Usage = "iteration or snapshot such as i12, or revision such as r7, to look at; the newest iteration with traffic by default"
	return c
}

// page is how much of an answer is there.
type page struct {
	rows, total int
	least       bool // there may be more than total
	cursor      string
}

// decode turns a row that came as JSON into its type.
func decode[T any](row any) (T, error) {
	var v T
	b, err := json.Marshal(row)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}

// decoded are the rows that are of the type.
func decoded[T any](rows []any) []T {
	list := make([]T, 0, len(rows))
	for _, row := range rows {
		if v, err := decode[T](row); err == nil {
			list = append(list, v)
		}
	}
	return list
}

func showCalls(w io.Writer, a *query.CallsAnswer) {
	fmt.Fprintln(w, "ID\tSRC\tDST\tPROTO\tMETHOD\tPATH\tSTATUS\tLATENCY\tSTATE")
	for _, c := range decoded[traffic.CompactCall](a.Calls) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f ms\t%s\n", c.ID, end(c.Src), end(c.Dst), c.Proto, printable(c.Method), printable(c.Path), c.Status, c.Latency, strings.TrimSpace(string(c.State)+" "+c.Error))
	}
}

func showFlows(w io.Writer, a *query.FlowsAnswer, connections bool) {
	if connections {
		fmt.Fprintln(w, "CONN\tSRC\tDST\tL7\tSTATE\tCALLS\tBYTES\tHANDSHAKE\tRETRANS")
		for _, c := range connectionsOf(a) {
			retransmissions := 0
			if c.TCP != nil {
				retransmissions = c.TCP.Retransmissions
			}
			fmt.Fprintf(w, "%d\t%s\t%s:%d\t%s\t%s\t%d\t%d\t%.2f ms\t%d\n", c.ID, c.Src.Name(), c.Dst.Name(), c.Dst.Port, c.L7, c.State, c.Calls, c.ClientBytes+c.ServerBytes, float64(c.HandshakeClientNS)/1e6, retransmissions)
		}
		return
	}
	fmt.Fprintln(w, "CLIENT\tSERVER\tPROTO\tL7\tCONNS\tOPENED\tCALLS\tBYTES\tCLIENT p50/p90/p99\tSERVER p50/p90/p99\tRESETS")
	for _, f := range decoded[query.FlowRow](a.Flows) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%d\n", flowEnd(f.Client), flowEnd(f.Server), f.Proto, strings.Join(f.L7, ","), f.Connections, f.Opened, f.Calls, f.Totals.Bytes, handshakes(f.ClientStats), handshakes(f.ServerStats), f.Resets)
	}
}

// connectionsOf are the connections that flows list.
func connectionsOf(a *query.FlowsAnswer) []*traffic.Connection {
	var all []*traffic.Connection
	for _, f := range decoded[query.FlowRow](a.Flows) {
		all = append(all, f.Raw...)
	}
	return all
}

// flowEnd names an end of a flow, or what flows were summed up by.
func flowEnd(e query.FlowEnd) string {
	if e.Svc == "" && e.Pod == "" && e.IP == "" {
		return cmp.Or(e.NS, e.Node)
	}
	return end(traffic.CompactEnd{IP: e.IP, Port: e.Port, Pod: e.Pod, NS: e.NS, Svc: e.Svc, Node: e.Node})
}

// handshakes are one side's percentiles: the client's from SYN to SYN-ACK, the server's from SYN-ACK to ACK.
func handshakes(s query.FlowStats) string {
	if s.HandshakeP50 == 0 && s.HandshakeP99 == 0 {
		return "-"
	}
	return fmt.Sprintf("%d/%d/%d µs", s.HandshakeP50, s.HandshakeP90, s.HandshakeP99)
}

func end(e traffic.CompactEnd) string {
	name := e.Svc
	if name == "" {
		name = e.Pod
	}
	if name == "" {
		name = e.IP
	}
	if e.Port > 0 {
		return fmt.Sprintf("%s:%d", name, e.Port)
	}
	return name
}

// harmless keeps captured text from steering the terminal.
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// printable is harmless text on one line, cut to what a column takes.
func printable(s string) string {
	s = strings.ReplaceAll(harmless(s), "\n", "\uFFFD")
	if runes := []rune(s); len(runes) > 80 {
		return string(runes[:79]) + "…"
	}
	return s
}
