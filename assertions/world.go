package assertions

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/contract"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// Input is what checks judge: one window.
type Input struct {
	Dissection  *traffic.Dissection
	WindowStart int64 // Unix nanoseconds; calls that begin outside of the window are left out. Both 0: no bounds
	WindowEnd   int64
	Identities  []traffic.Identity // name the ends of losses of which no packet was kept
	Exercise    string             // what drove the services; empty where that is not known: then no check is skipped for it
	Baseline    BaselineFile       // what checks mean by baseline
	Passed      *baseline.Baseline // the runs of the last revision that passed, for built-in checks; nil where there are none
	Folder      string             // the workspace: files that checks name lie below it; the working directory where it is empty
	Files       contract.Files     // reads these files instead of Folder, where it is not nil
}

// world is the input in the order and with the indices that judging needs.
type world struct {
	input   Input
	account traffic.Account
	calls   []*traffic.Call       // of the window, by start and ID, background included
	conns   []*traffic.Connection // active in the window, by start and ID, background included
	every   []*traffic.Connection // of the dissection, by ID
	byID    map[uint64]*traffic.Connection
	names   map[netip.Addr]traffic.Workload
	start   int64
	end     int64
	now     time.Time

	contracts *contracts
}

func newWorld(in Input) *world {
	w := &world{input: in, byID: map[uint64]*traffic.Connection{}, names: map[netip.Addr]traffic.Workload{},
		start: in.WindowStart, end: in.WindowEnd, contracts: &contracts{files: in.Files}}
	if in.Files == nil {
		w.contracts.files = contract.Below(in.Folder)
	}
	if in.Dissection == nil {
		return w
	}
	w.account = in.Dissection.Account
	for _, c := range in.Dissection.Connections {
		if c == nil {
			continue
		}
		w.every = append(w.every, c)
		w.byID[c.ID] = c
		if within(c.Start, c.End, in) {
			w.conns = append(w.conns, c)
		}
	}
	for _, c := range in.Dissection.Calls {
		if c != nil && within(c.Start, c.Start, in) {
			w.calls = append(w.calls, c)
		}
	}
	slices.SortFunc(w.calls, func(a, b *traffic.Call) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	})
	byStart := func(a, b *traffic.Connection) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.ID, b.ID))
	}
	slices.SortFunc(w.conns, byStart)
	slices.SortFunc(w.every, byStart)
	w.nameAddresses()
	w.now = now(cmp.Or(in.WindowEnd, w.account.Last))
	return w
}

// within reports whether a span of time touches the window.
func within(start, end int64, in Input) bool {
	return (in.WindowStart == 0 || end >= in.WindowStart) && (in.WindowEnd == 0 || start <= in.WindowEnd)
}

// nameAddresses collects who owned which address: identities first, else whoever the connections say.
func (w *world) nameAddresses() {
	for _, c := range w.every {
		for _, e := range []*traffic.Endpoint{&c.Src, &c.Dst} {
			if e.Workload.Name() != "" {
				w.names[e.IP] = e.Workload
			}
		}
	}
	for _, id := range w.input.Identities {
		if (w.end == 0 || id.From <= w.end) && (id.To == 0 || id.To >= w.start) {
			w.names[id.IP] = id.Workload
		}
	}
}

// rows are the rows of the window that a filter could be asked about.
func (w *world) rows(kind filter.Kind) []filter.Row {
	var rows []filter.Row
	if kind&filter.Calls != 0 {
		for _, c := range w.calls {
			rows = append(rows, filter.Row{Call: c, Conn: w.byID[c.ConnID]})
		}
	}
	if kind&filter.Connections != 0 {
		for _, c := range w.conns {
			rows = append(rows, filter.Row{Conn: c})
		}
	}
	return rows
}

// isBackground reports whether a row is a probe or the like.
func isBackground(r *filter.Row) bool {
	if r.Call != nil {
		return r.Call.Background
	}
	return r.Conn.Background
}
