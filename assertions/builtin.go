package assertions

import (
	"fmt"
	"slices"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// builtin is a check that every system is held to and that needs no file. It judges what was seen in the clear; what lies
// behind TLS is outside of its promise, so that a call to an encrypted third party does not leave it open.
type builtin struct {
	name   string // "builtin/…", the rule
	on     string // what it looks at, as KFL
	expect string // what it states, in words or CEL
	doc    string
	unit   string
	find   func(w *world, rows []filter.Row) finding

	agent    bool   // judged in [config.ProfileAgent] only
	compares bool   // with [Input.Passed]
	wire     bool   // it speaks of connections, and not of what their streams hold
	next     string // what to do about what breaks it
}

// finding is what a built-in check found.
type finding struct {
	looked   int   // rows that the statement is about; none is no data
	hits     []int // rows that break it, as indices
	ordered  bool  // hits are in the order to show
	reason   string
	kept     string // the sentence when nothing breaks it
	nodata   string // why there was nothing to look at
	skip     bool   // nodata is final, whatever was lost
	open     string // why it may be broken all the same, where nothing that was seen breaks it
	examples []int
}

// builtins are the built-in checks, in the order of their results.
func builtins() []builtin {
	return []builtin{midRequestReset, unboundedRetry, keepaliveLost, credentialToThirdParty,
		newEgress, metadataAddress, plaintextOutside, authMissing, tokenForwarded, secretInURL}
}

// wantsBuiltin reports whether a built-in check is to be evaluated: one of another profile is when it is asked for by its name.
func (o CheckOptions) wantsBuiltin(b builtin) bool {
	return o.wants(b.name) && (!b.agent || o.Profile == config.ProfileAgent || slices.Contains(o.Only, b.name))
}

// Compares reports whether a built-in check that looks at [Input.Passed] is to be evaluated.
func (o CheckOptions) Compares() bool {
	return !o.NoBuiltin && slices.ContainsFunc(builtins(), func(b builtin) bool { return b.compares && o.wantsBuiltin(b) })
}

// judge evaluates a built-in check. What it has no data for is skipped: it gates nothing.
func (b builtin) judge(w *world, muted string) traffic.CheckResult {
	r := traffic.CheckResult{Name: b.name, Builtin: true, On: b.on, Expect: b.expect, Severity: SeverityError, Unit: b.unit}
	if w.input.Dissection == nil {
		return ended(r, traffic.Skipped, "nothing was captured")
	}
	on, err := filter.Compile(b.on)
	if err != nil {
		return ended(r, traffic.Error, "compile the built-in filter: "+err.Error())
	}
	kind := filter.Calls
	if b.unit == filter.Connections.String() {
		kind = filter.Connections
	}
	c := &check{spec: Check{Confidence: DefaultConfidence, Muted: muted}, on: on, kind: kind, unit: b.unit, scope: scope{on: on, streams: !b.wire}}
	rows, _, err := c.selectRows(w)
	if err != nil {
		return ended(r, traffic.Error, err.Error())
	}
	lost := w.lossOver(c.scope)
	s := c.selection(w, rows, lost)
	f := b.find(w, rows)
	r.N, r.Loss, r.Basis = f.looked, lost.String(), basisExact
	switch {
	case len(f.hits) > 0:
		r.Verdict, r.Reason = traffic.Fail, f.reason
		if b.next != "" {
			r.Reason += "; next: " + b.next
		}
		r.Evidence, r.EvidenceTotal = s.evidenceOf(f.hits, f.ordered, evidenceShown), len(f.hits)
	case f.skip, f.looked == 0 && f.open == "" && (lost == nil || !b.agent):
		return ended(r, traffic.Skipped, f.nodata)
	case lost != nil:
		r.Verdict = traffic.Inconclusive
		r.Reason = f.seen() + "; but the capture is incomplete: " + lost.String()
		r.Evidence, r.EvidenceTotal = lossEvidence(lost)
	case f.open != "":
		r.Verdict, r.Reason = traffic.Inconclusive, f.seen()+"; but "+f.open
	default:
		r.Verdict, r.Reason = traffic.Pass, f.kept
		r.Evidence, r.EvidenceTotal = s.evidenceOf(f.examples, true, examplesShown), len(f.examples)
	}
	c.soften(&r)
	return r
}

// seen is what was found where nothing breaks a check.
func (f *finding) seen() string {
	if f.looked == 0 {
		return f.nodata
	}
	return f.kept
}

var midRequestReset = builtin{
	name: "builtin/reset-mid-request", on: `tcp_conn`, expect: "none(mid_request_reset)", unit: "connections",
	doc: "No connection is reset while a request waits for its response.",
	find: func(w *world, rows []filter.Row) finding {
		f := finding{nodata: "no connection carried a call"}
		edges := &selection{rows: rows}
		for i, r := range rows {
			if r.Conn.MidRequestReset {
				f.hits = append(f.hits, i)
			}
			if r.Conn.WindowCalls > 0 || r.Conn.MidRequestReset {
				f.looked++
				f.examples = append(f.examples, i)
			}
		}
		by := map[string]int{}
		for _, i := range f.hits {
			by[rows[i].Conn.ResetBy]++
		}
		who := ""
		for _, side := range sortedKeys(by) {
			if side != "" {
				who += fmt.Sprintf(", %d by the %s", by[side], side)
			}
		}
		f.reason = fmt.Sprintf("%d of %s (%s) were reset while a request waited%s", len(f.hits),
			quantify(uint64(f.looked), "connection"), edges.edgesOf(f.hits), who)
		f.kept = fmt.Sprintf("none of %s was reset while a request waited", quantify(uint64(f.looked), "connection"))
		return f
	},
}

// callsOf are the calls of some rows, in their order.
func callsOf(rows []filter.Row) []*traffic.Call {
	calls := make([]*traffic.Call, len(rows))
	for i := range rows {
		calls[i] = rows[i].Call
	}
	return calls
}

// byStart orders row indices by the start of their calls.
func byStart(calls []*traffic.Call, rows []int) {
	slices.SortStableFunc(rows, func(a, b int) int {
		switch d := calls[a].Start - calls[b].Start; {
		case d < 0:
			return -1
		case d > 0:
			return 1
		}
		return 0
	})
}
