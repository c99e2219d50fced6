package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// asking is a verb that puts one question to the daemon and prints its answer.
type asking[Request, Answer any] struct {
	method control.Method[Request, Answer]
	show   func(w io.Writer, a *Answer)   // for people
	rows   func(a *Answer) []any          // for -o jsonl; nil for answers that are one line
	told   func(a *Answer) *query.Reading // how it was read; nil for answers without
	args   func(q *Request, args []string) error
	more   func(a *Answer) page // what of a list is there; nil for answers that are whole
}

// run asks and prints.
func (x asking[Request, Answer]) run(r *root, cmd *cobra.Command, q *Request, args []string) error {
	ctx, cancel := r.bounded(cmd.Context())
	defer cancel()
	if x.args != nil {
		if err := x.args(q, args); err != nil {
			return err
		}
	}
	c, _, err := r.connect(ctx)
	if err != nil {
		return err
	}
	a, err := x.method.Ask(ctx, c, *q, nil)
	if err != nil {
		return err
	}
	if x.told != nil {
		r.tellReading(x.told(a))
	}
	if x.more != nil {
		r.tellMore(x.more(a))
	}
	switch {
	case r.output == "json", r.output == "jsonl" && x.rows == nil:
		return r.json(a)
	case r.output == "jsonl":
		for _, row := range x.rows(a) {
			if err := r.json(row); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(r.out, 0, 8, 2, ' ', 0)
	x.show(t, a)
	return t.Flush()
}

// tellReading says beside the data how a question was read and what lacks.
func (r *root) tellReading(a *query.Reading) {
	if a.Rewritten != "" {
		r.say("read as: %s", a.Rewritten)
	}
	for _, w := range a.Warnings {
		r.say("warning: %s", w)
	}
	if a.Incomplete != "" {
		r.say("warning: %s", a.Incomplete)
	}
	if a.Why != "" {
		r.say("nothing: %s", a.Why)
	}
}

// tellMore says beside the data how to get the rest of a list.
func (r *root) tellMore(p page) {
	if p.cursor == "" {
		return
	}
	least := ""
	if p.least {
		least = "at least "
	}
	r.say("%d of %s%d; more with --cursor %s", p.rows, least, p.total, p.cursor)
}

// anyRows makes rows of a list.
func anyRows[T any](list []T) []any {
	rows := make([]any, len(list))
	for i := range list {
		rows[i] = list[i]
	}
	return rows
}

// scopeFlags say which traffic a question is about.
func scopeFlags(f *pflag.FlagSet, s *query.Scope) {
	f.StringVar(&s.Snapshot, "iteration", "", "iteration or snapshot such as i12, or revision such as r7, to look at; what is captured now by default")
	f.StringVar(&s.DB, "db", "", "live, or SNAPSHOT/DISSECTION")
	f.Var(when{&s.Start}, "since", "only what began since: 14:05, 2026-11-21T14:05:00Z, Unix milliseconds, or 5m for five minutes ago")
	f.Var(when{&s.End}, "until", "only what began before, likewise")
}

// when is a time as people write it, kept as Unix milliseconds.
type when struct{ at *int64 }

// Set reads one of the forms.
func (m when) Set(s string) error {
	now := time.Now()
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		*m.at = now.Add(-d).UnixMilli()
		return nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 1e11 {
		*m.at = n
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*m.at = t.UnixMilli()
			return nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*m.at = time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.Local).UnixMilli()
			return nil
		}
	}
	return fmt.Errorf("%q is no time: 14:05, 2026-11-21T14:05:00Z, Unix milliseconds, or 5m for five minutes ago", s)
}

// String is the time as RFC 3339 has it.
func (m when) String() string {
	if m.at == nil || *m.at == 0 {
		return ""
	}
	return time.UnixMilli(*m.at).Format(time.RFC3339)
}

// Type names it in help.
func (when) Type() string { return "time" }

// kflArgument is a filter as the only argument.
func kflArgument(s *query.Selection, args []string) {
	if len(args) > 0 {
		s.KFL = args[0]
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).Format("15:04:05.000") }

func joined(list []string) string { return printable(strings.Join(list, " ")) }

// compareVerb compares two sets of traffic.
func compareVerb(r *root) *cobra.Command {
	var q query.CompareRequest
	c := &cobra.Command{
		Use: "compare A B", Short: "What differs between two sets of traffic: endpoints, latency, errors, edges, calls a request, fields",
		Long: `A is what it was, B what it is. Each is an iteration or snapshot (i12), a revision (r7), a dissection (i12/analysis) or
live. Latency is compared by Hodges and Lehmann's shift with its interval and Mann and Whitney's test; where n is too small,
the answer says so.`,
		Example: "  devloop compare i11 i12\n  devloop compare r6 r7 'dst.service.name == \"checkout\"'", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			return asking[query.CompareRequest, query.Comparison]{method: control.CompareTraffic, show: showComparison,
				rows: func(a *query.Comparison) []any { return anyRows(a.Endpoints) },
				args: func(q *query.CompareRequest, args []string) error {
					q.A, q.B = compared(args[0]), compared(args[1])
					if len(args) > 2 {
						q.KFL = args[2]
					}
					return nil
				}}.run(r, cmd, &q, args)
		},
	}
	c.Flags().IntVar(&q.Limit, "limit", 50, "endpoints, edges and so on, at most 500")
	return c
}

// compared reads a side of a comparison.
func compared(name string) query.Side {
	switch {
	case name == query.Live || strings.Contains(name, "/"):
		return query.Side{Scope: query.Scope{DB: name}}
	case strings.HasPrefix(name, "r") && strings.Trim(name[1:], "0123456789") == "" && len(name) > 1:
		return query.Side{Revision: name}
	}
	return query.Side{Scope: query.Scope{Snapshot: name}}
}

func showComparison(w io.Writer, a *query.Comparison) {
	fmt.Fprintf(w, "%s: %d calls, %d failed\t→\t%s: %d calls, %d failed\n", a.A.DB, a.A.Calls, a.A.Errors, a.B.DB, a.B.Calls, a.B.Errors)
	for _, f := range a.Findings {
		fmt.Fprintf(w, "- %s\n", printable(f))
	}
	fmt.Fprintln(w, "\nCHANGE\tENDPOINT\tCALLS\tERRORS\tp50 ms\tSHIFT ms (95 %)\tp adj")
	for _, e := range a.Endpoints {
		shift, p := "-", "-"
		if s := e.Shift; s != nil {
			shift, p = fmt.Sprintf("%+.3g (%.3g to %.3g)", s.MS, s.Low, s.High), fmt.Sprintf("%.2g", s.PAdj)
		}
		fmt.Fprintf(w, "%s\t%s\t%d → %d\t%d → %d\t%.3g → %.3g\t%s\t%s\n", e.Change, printable(e.Endpoint), e.Calls[0], e.Calls[1], e.Errors[0], e.Errors[1], e.P50[0], e.P50[1], shift, p)
	}
}

// eventsVerb lists events.
func eventsVerb(r *root) *cobra.Command {
	var q query.EventsRequest
	c := &cobra.Command{
		Use: "events", Short: "Crashes, restarts and what else happened beside the calls; --before shows what a pod sent and received right before one",
		Example: "  devloop events --warnings\n  devloop events --before e1f00c5a9d2b3c4e7 --seconds 30", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return asking[query.EventsRequest, query.EventsAnswer]{method: control.ListEvents, show: showEvents,
				rows: func(a *query.EventsAnswer) []any { return anyRows(a.Events) }, told: func(a *query.EventsAnswer) *query.Reading { return &a.Reading }}.run(r, cmd, &q, args)
		},
	}
	f := c.Flags()
	scopeFlags(f, &q.Scope)
	f.StringVar(&q.Before, "before", "", "id of an event: what its pod said before it")
	f.IntVar(&q.Seconds, "seconds", 120, "how long before")
	f.StringVar(&q.Pod, "pod", "", "only of this pod or local service")
	f.StringVar(&q.Kind, "kind", "", "only of this kind: restart, probe, rollout, scheduling, image, start, node, other")
	f.BoolVar(&q.Warnings, "warnings", false, "only what is not as it should be")
	f.IntVar(&q.Limit, "limit", 100, "how many, at most 1000")
	return c
}

func showEvents(w io.Writer, a *query.EventsAnswer) {
	fmt.Fprintln(w, "TIME\tKIND\tPOD\tWHAT\tID")
	for _, e := range a.Events {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", stamp(e.TS), e.Kind, e.Pod, printable(e.Text), e.ID)
	}
	b := a.Before
	if b == nil {
		return
	}
	fmt.Fprintf(w, "\nbefore %s (%s to %s): %d calls without an answer, %d connections reset\n", printable(b.Event.Text), stamp(b.Window.Start), stamp(b.Window.End), b.Open, b.Resets)
	fmt.Fprintln(w, "\nDIRECTION\tPEER\tPROTO\tCALLS\tERRORS\tp99 ms")
	for direction, list := range map[string][]query.Talk{"received": b.Received, "sent": b.Sent} {
		for _, t := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%.3g\n", direction, t.Peer, t.Protocol, t.Calls, t.Errors, t.P99)
		}
	}
}

// selecting is a verb whose only argument is a filter.
func selecting[Request, Answer any](r *root, use, short, example string, q *Request, s *query.Selection, x asking[Request, Answer]) *cobra.Command {
	x.args = func(_ *Request, args []string) error { kflArgument(s, args); return nil }
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(r, cmd, q, args) },
	}
	scopeFlags(c.Flags(), &s.Scope)
	return c
}

// errorsVerb groups failures by cause.
func errorsVerb(r *root) *cobra.Command {
	var q query.ErrorsRequest
	c := selecting(r, "errors [KFL]", "What failed, grouped by cause: which call failed first, who gave up, what was slow before",
		"  devloop errors\n  devloop errors 'dst.service.name == \"checkout\"'", &q, &q.Selection,
		asking[query.ErrorsRequest, query.ErrorsAnswer]{method: control.FindErrors, show: showErrors,
			rows: func(a *query.ErrorsAnswer) []any { return anyRows(a.Groups) }, told: func(a *query.ErrorsAnswer) *query.Reading { return &a.Reading }})
	c.Flags().StringVar(&q.Service, "service", "", "only what failed at its endpoints")
	c.Flags().IntVar(&q.Limit, "limit", 20, "how many causes, at most 200")
	return c
}

func showErrors(w io.Writer, a *query.ErrorsAnswer) {
	fmt.Fprintf(w, "%d of %d calls failed (%.1f %%)\n", a.Errors, a.Calls, 100*a.ErrorRate)
	for _, g := range a.Groups {
		fmt.Fprintf(w, "\n%d of %d\t%s\n", g.Count, g.Of, printable(g.Cause))
		for i, s := range g.Chain {
			fmt.Fprintf(w, "\t%s%s → %s: %s\t%s\n", strings.Repeat("  ", i), s.Src, printable(s.Endpoint), printable(s.Result), s.Example)
		}
		for _, m := range g.Timeline {
			fmt.Fprintf(w, "\t%s  %s\t%s\n", stamp(m.TS), printable(m.What), m.Call)
		}
	}
}

// dependentsVerb says who depends on a service.
func dependentsVerb(r *root) *cobra.Command {
	var q query.DependentsRequest
	c := &cobra.Command{
		Use: "dependents SERVICE", Short: "Who is affected, directly and through others, when a service, database, cache or external host goes away",
		Example: "  devloop dependents cache", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Service = args[0]
			return asking[query.DependentsRequest, query.DependentsAnswer]{method: control.GetDependents, show: showDependents,
				rows: func(a *query.DependentsAnswer) []any { return anyRows(a.Dependents) }, told: func(a *query.DependentsAnswer) *query.Reading { return &a.Reading }}.run(r, cmd, &q, args)
		},
	}
	scopeFlags(c.Flags(), &q.Scope)
	c.Flags().IntVar(&q.Depth, "depth", 0, "steps away; all by default")
	return c
}

func showDependents(w io.Writer, a *query.DependentsAnswer) {
	fmt.Fprintln(w, "STEPS\tWHO\tVIA\tCALLS\tSYNC\tASYNC\tOWN")
	for _, d := range a.Dependents {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%d\t%d\n", d.Depth, d.Name, d.Via, d.Calls, d.Sync, d.Async, d.Own)
	}
	fmt.Fprintln(w, "\nENDPOINT\tREQUESTS THAT NEED IT\tOF\tSHARE")
	for _, e := range a.Endpoints {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f %%\n", printable(e.Endpoint), e.Needed, e.Requests, 100*e.Share)
	}
}

// egressVerb lists what leaves.
func egressVerb(r *root) *cobra.Command {
	var q query.EgressRequest
	c := selecting(r, "egress [KFL]", "What leaves the system: by domain, with bytes, calls, TLS and who speaks to it",
		"  devloop egress --allow '*.payments.example:443'", &q, &q.Selection,
		asking[query.EgressRequest, query.EgressAnswer]{method: control.ListEgress, show: showEgress,
			rows: func(a *query.EgressAnswer) []any { return anyRows(a.Destinations) }, told: func(a *query.EgressAnswer) *query.Reading { return &a.Reading }})
	c.Flags().StringSliceVar(&q.Allow, "allow", nil, "allowed destinations: names, *.example.com, addresses, CIDRs, each with :port or without")
	c.Flags().IntVar(&q.Limit, "limit", 100, "how many, at most 1000")
	return c
}

func showEgress(w io.Writer, a *query.EgressAnswer) {
	fmt.Fprintln(w, "DESTINATION\tBY\tPORTS\tSERVICES\tCONNS\tCALLS\tERRORS\tSENT\tRECEIVED\tTLS\tPLAIN\tHANDSHAKE p99\tALLOWED")
	for _, e := range a.Destinations {
		allowed := "-"
		if e.Allowed != nil {
			allowed = strconv.FormatBool(*e.Allowed)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d µs\t%s\n", printable(e.Name), e.KnownBy, strings.Trim(fmt.Sprint(e.Ports), "[]"), joined(e.Services),
			e.Connections, e.Calls, e.Errors, e.Sent, e.Received, e.TLS, e.Plaintext, e.HandshakeP99, allowed)
	}
}

// correlateVerb correlates two fields.
func correlateVerb(r *root) *cobra.Command {
	var q query.CorrelateRequest
	c := &cobra.Command{
		Use: "correlate X Y [KFL]", Short: "Whether two numbers of calls go together, such as latency and size: rank correlation with n and interval",
		Example: "  devloop correlate request_body_size latency 'http'", Args: cobra.RangeArgs(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.X, q.Y = args[0], args[1]
			kflArgument(&q.Selection, args[2:])
			return asking[query.CorrelateRequest, query.Correlation]{method: control.Correlate, show: showCorrelation,
				rows: func(a *query.Correlation) []any { return []any{a} }, told: func(a *query.Correlation) *query.Reading { return &a.Reading }}.run(r, cmd, &q, args)
		},
	}
	scopeFlags(c.Flags(), &q.Scope)
	return c
}

func showCorrelation(w io.Writer, a *query.Correlation) {
	fmt.Fprintf(w, "%s\n\nrho\t%.3f\t%.3f to %.3f\ntau\t%.3f\t%.3f to %.3f\nn\t%d\t%d calls lack one\n", a.Says, a.Spearman.Value, a.Spearman.Low, a.Spearman.High,
		a.Kendall.Value, a.Kendall.Low, a.Kendall.High, a.N, a.Without)
	for _, b := range a.Bins {
		fmt.Fprintf(w, "%s %.4g to %.4g\tmedian %s %.4g\tn %d\n", a.X, b.From, b.To, a.Y, b.MedianY, b.N)
	}
}

// sensitiveVerb finds sensitive data.
func sensitiveVerb(r *root) *cobra.Command {
	var q query.SensitiveRequest
	c := selecting(r, "sensitive [KFL]", "Where secrets and personal data were seen: kind, place and keyed hash, never the value",
		"  devloop sensitive --personal\n  devloop sensitive 'egress' --calls -o json", &q, &q.Selection,
		asking[query.SensitiveRequest, query.SensitiveAnswer]{method: control.FindSensitiveData, show: showSensitive,
			rows: func(a *query.SensitiveAnswer) []any { return anyRows(a.Findings) }, told: func(a *query.SensitiveAnswer) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.StringSliceVar(&q.Kinds, "kind", nil, "only these kinds: card, iban, email, jwt, bearer, password, …, personal, credentials")
	f.BoolVar(&q.Personal, "personal", false, "only what identifies a person or an account")
	f.BoolVar(&q.Calls, "calls", false, "also each call that has some")
	f.IntVar(&q.Limit, "limit", 100, "how many, at most 1000")
	return c
}

func showSensitive(w io.Writer, a *query.SensitiveAnswer) {
	fmt.Fprintln(w, "KIND\tPLACE\tSRC\tENDPOINT\tCALLS\tVALUES\tOUTSIDE\tPLAIN\tEXAMPLE")
	for _, s := range a.Findings {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%t\t%t\t%s\n", s.Kind, printable(s.Place), s.Src, printable(s.Endpoint), s.Calls, s.Values, s.Outside, s.Plain, s.Example)
	}
	if len(a.Spread) > 0 {
		fmt.Fprintln(w, "\nVALUE\tCALLS\tOUTSIDE\tEDGES")
	}
	for _, s := range a.Spread {
		fmt.Fprintf(w, "%s %s\t%d\t%t\t%s\n", s.Kind, s.Hash, s.Calls, s.Outside, printable(strings.Join(s.Edges, ", ")))
	}
	for _, c := range a.Calls {
		fmt.Fprintf(w, "%s\t%s → %s\t%s\t%s\t%s\n", stamp(c.TS), c.Src, c.Dst, printable(c.What), joined(c.Kinds), c.ID)
	}
}

// retriesVerb lists retries.
func retriesVerb(r *root) *cobra.Command {
	var q query.RetriesRequest
	c := selecting(r, "retries [KFL]", "Which requests were made more than once, by whom, with what pauses; and storms",
		"  devloop retries --storm-ms 100", &q, &q.Selection,
		asking[query.RetriesRequest, query.RetriesAnswer]{method: control.ListRetries, show: showRetries,
			rows: func(a *query.RetriesAnswer) []any { return anyRows(a.Edges) }, told: func(a *query.RetriesAnswer) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.IntVar(&q.StormAttempts, "storm-attempts", 3, "a storm is so many attempts")
	f.IntVar(&q.StormMS, "storm-ms", 100, "within so many milliseconds")
	f.IntVar(&q.Limit, "limit", 50, "how many edges, at most 500")
	return c
}

func showRetries(w io.Writer, a *query.RetriesAnswer) {
	fmt.Fprintf(w, "%d requests were retried, %d times in all; %d storms (%d attempts within %d ms)\n\n", a.Requests, a.Retries, a.Storms, a.StormAt, a.StormMS)
	fmt.Fprintln(w, "SRC\tENDPOINT\tCALLS\tRETRIED\tMOST ATTEMPTS\tPAUSES ms\tFACTOR\tSTORMS\tSUCCEEDED\tEXAMPLE")
	for _, e := range a.Edges {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%.2g\t%d\t%d\t%s\n", e.Src, printable(e.Endpoint), e.Calls, e.Requests, e.MaxAttempts, strings.Trim(fmt.Sprint(e.DelaysMS), "[]"),
			e.Factor, e.Storms, e.Succeeded, e.Examples[0].Group)
	}
}

// connectionsVerb lists how connections are used.
func connectionsVerb(r *root) *cobra.Command {
	var q query.ConnectionsRequest
	c := selecting(r, "connections [KFL]", "How connections are opened, reused, reset and refused, by client and server",
		"  devloop connections 'dst.service.name == \"catalogue-db\"'", &q, &q.Selection,
		asking[query.ConnectionsRequest, query.ConnectionsAnswer]{method: control.ListConnections, show: showConnections,
			rows: func(a *query.ConnectionsAnswer) []any { return anyRows(a.Edges) }, told: func(a *query.ConnectionsAnswer) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.Int64Var(&q.BucketMS, "bucket-ms", 0, "also how many were opened in each stretch of so many milliseconds (-o json)")
	f.StringVar(&q.Order, "order", "opened", "opened, resets or reuse")
	f.IntVar(&q.Limit, "limit", 100, "how many, at most 1000")
	return c
}

func showConnections(w io.Writer, a *query.ConnectionsAnswer) {
	fmt.Fprintln(w, "CLIENT\tSERVER\tL7\tCONNS\tOPENED\tA MINUTE\tMOST\tCALLS\tPER CONN\tRESETS\tMID REQUEST\tREFUSED\tHANDSHAKE p99")
	for _, e := range a.Edges {
		fmt.Fprintf(w, "%s\t%s:%d\t%s\t%d\t%d\t%.1f\t%d\t%d\t%.1f\t%d\t%d\t%d\t%d µs\n", e.Client, e.Server, e.Port, joined(e.Protocols), e.Connections, e.Opened, e.PerMinute, e.Most,
			e.Calls, e.CallsPer, e.Resets, e.MidRequest, e.Refused, e.HandshakeP99)
	}
}

// exportVerb writes files.
func exportVerb(r *root) *cobra.Command {
	c := &cobra.Command{Use: "export", Short: "Write calls, or network policies of what was seen, to a file in .devloop/exports"}
	c.AddCommand(exportCallsVerb(r), exportPolicyVerb(r), exportBundleVerb(r))
	return c
}

func exportCallsVerb(r *root) *cobra.Command {
	var q query.ExportRequest
	c := selecting(r, "calls [KFL]", "Calls as CSV, Markdown, HAR 1.2 or OpenTelemetry traces, redacted, with the file's SHA-256",
		"  devloop export calls --format har --file checkout.har 'http && dst.service.name == \"checkout\"'", &q, &q.Selection,
		asking[query.ExportRequest, query.ExportAnswer]{method: control.ExportCalls, show: func(w io.Writer, a *query.ExportAnswer) {
			fmt.Fprintf(w, "%s\t%d calls\t%d bytes\tsha256 %s\n", a.Path, a.Calls, a.Bytes, a.SHA256)
			if a.Omitted > 0 {
				fmt.Fprintf(w, "%d more calls are not in it\n", a.Omitted)
			}
		}, rows: func(a *query.ExportAnswer) []any { return []any{a} }, told: func(a *query.ExportAnswer) *query.Reading { return &a.Reading }})
	f := c.Flags()
	f.StringVar(&q.Format, "format", "csv", "csv, markdown, har or otlp: OpenTelemetry traces as lines of JSON")
	f.StringVar(&q.File, "file", "", "name of the file; made up by default")
	f.BoolVar(&q.Overwrite, "overwrite", false, "replace a file of that name")
	f.IntVar(&q.Limit, "limit", 0, "how many calls, oldest first; all by default")
	return c
}

func exportPolicyVerb(r *root) *cobra.Command {
	var q query.PolicyRequest
	c := selecting(r, "policy [KFL]", "Kubernetes network policies that allow the connections that were seen, and nothing else",
		"  devloop export policy > policy.yaml", &q, &q.Selection,
		asking[query.PolicyRequest, query.PolicyAnswer]{method: control.ExportPolicy, show: func(w io.Writer, a *query.PolicyAnswer) { _, _ = io.WriteString(w, a.YAML) },
			rows: func(a *query.PolicyAnswer) []any { return []any{a} }, told: func(a *query.PolicyAnswer) *query.Reading {
				for _, x := range a.Caveats {
					r.say("note: %s", x)
				}
				return &a.Reading
			}})
	f := c.Flags()
	f.StringVar(&q.Namespace, "namespace", "", "only policies of this namespace")
	f.StringVar(&q.Service, "service", "", "only the policy of this service")
	f.StringVar(&q.File, "file", "", "also write it to this file in .devloop/exports")
	f.BoolVar(&q.Overwrite, "overwrite", false, "replace a file of that name")
	return c
}
