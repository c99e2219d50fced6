package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// callsVerb lists calls.
func callsVerb(r *root) *cobra.Command {
	return queryVerb(r, "calls [KFL]", "calls", "The calls of an iteration that a filter selects",
		"  devloop calls 'http && status_code >= 500'\n  devloop calls --full -o jsonl 'dst.service.name == \"payment\"'", printCalls)
}

// flowsVerb lists flows.
func flowsVerb(r *root) *cobra.Command {
	return queryVerb(r, "flows [KFL]", "flows", "Who spoke to whom, how much, with handshake times",
		"  devloop flows\n  devloop flows --connections -o jsonl", printFlows)
}

func queryVerb(r *root, use, kind, short, example string, table func(*root, *control.QueryAnswer) error) *cobra.Command {
	request := control.QueryRequest{Kind: kind}
	var full, connections bool
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := r.bounded(cmd.Context())
			defer cancel()
			if len(args) > 0 {
				request.KFL = args[0]
			}
			if full {
				request.Format = "full"
			}
			if connections {
				request.Kind = "connections"
			}
			c, _, err := r.connect(ctx)
			if err != nil {
				return err
			}
			a, err := c.Query(ctx, request)
			if err != nil {
				return err
			}
			return r.rows(a, table)
		},
	}
	f := c.Flags()
	f.StringVar(&request.Iteration, "iteration", "", "iteration to look at; the newest with traffic by default")
	f.IntVar(&request.Limit, "limit", 100, "how many rows, at most 1000")
	f.StringVar(&request.Cursor, "cursor", "", "where to go on: the cursor of the answer before")
	if kind == "calls" {
		f.BoolVar(&full, "full", false, "headers, bodies and ids too")
	} else {
		f.BoolVar(&connections, "connections", false, "single connections with their TCP metrics")
	}
	return c
}

// rows writes an answer in the asked form.
func (r *root) rows(a *control.QueryAnswer, table func(*root, *control.QueryAnswer) error) error {
	if a.Rewritten != "" {
		r.say("read as: %s", a.Rewritten)
	}
	for _, w := range a.Warnings {
		r.say("warning: %s", w)
	}
	switch r.output {
	case "json":
		return r.json(a)
	case "jsonl":
		for _, row := range a.Rows {
			if err := r.json(row); err != nil {
				return err
			}
		}
	default:
		if err := table(r, a); err != nil {
			return err
		}
	}
	if a.Why != "" {
		r.say("no rows: %s", a.Why)
	}
	if a.Cursor != "" {
		r.say("%d of %d; more with --cursor %s", len(a.Rows), a.Total, a.Cursor)
	}
	return nil
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

func printCalls(r *root, a *control.QueryAnswer) error {
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSRC\tDST\tPROTO\tMETHOD\tPATH\tSTATUS\tLATENCY\tSTATE")
	for _, row := range a.Rows {
		c, err := decode[traffic.CompactCall](row)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.1f ms\t%s\n", c.ID, end(c.Src), end(c.Dst), c.Proto, printable(c.Method), printable(c.Path), c.Status, c.Latency, strings.TrimSpace(string(c.State)+" "+c.Error))
	}
	return t.Flush()
}

func printFlows(r *root, a *control.QueryAnswer) error {
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	if a.Kind == "connections" {
		fmt.Fprintln(t, "CONN\tSRC\tDST\tL7\tSTATE\tCALLS\tBYTES\tHANDSHAKE\tRETRANS")
		for _, row := range a.Rows {
			c, err := decode[traffic.Connection](row)
			if err != nil {
				return err
			}
			retransmissions := 0
			if c.TCP != nil {
				retransmissions = c.TCP.Retransmissions
			}
			fmt.Fprintf(t, "%d\t%s\t%s:%d\t%s\t%s\t%d\t%d\t%.2f ms\t%d\n", c.ID, c.Src.Name(), c.Dst.Name(), c.Dst.Port, c.L7, c.State, c.Calls, c.ClientBytes+c.ServerBytes, float64(c.HandshakeClientNS)/1e6, retransmissions)
		}
		return t.Flush()
	}
	fmt.Fprintln(t, "CLIENT\tSERVER\tPROTO\tL7\tCONNS\tOPENED\tCALLS\tBYTES\tCLIENT p50/p90/p99\tSERVER p50/p90/p99\tRESETS")
	for _, row := range a.Rows {
		f, err := decode[traffic.Flow](row)
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%d\n", end(f.Client), end(f.Server), f.Proto, strings.Join(f.L7, ","), f.Connections, f.Opened, f.Calls, f.Totals.Bytes, handshakes(f.ClientStats), handshakes(f.ServerStats), f.Resets)
	}
	return t.Flush()
}

// handshakes are one side's percentiles: the client's from SYN to SYN-ACK, the server's from SYN-ACK to ACK.
func handshakes(s traffic.FlowStats) string {
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
