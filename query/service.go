package query

import (
	"context"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// GetService returns one service's statistics, neighbours, endpoints and events.
func GetService(ctx context.Context, db *Database, r ServiceRequest) (*ServiceDetails, error) {
	if r.Service == "" {
		return nil, mistake("get_service_map names the services", "a service is needed")
	}
	a := &ServiceDetails{Service: r.Service, Endpoints: []Stats{}, Callers: []MapEdge{}, Callees: []MapEdge{}, Workloads: []WorkloadRecord{}}
	serving, err := GetAPIStats(ctx, db, StatsRequest{Selection: Selection{Scope: r.Scope, KFL: "dst.name == " + celString(r.Service)}})
	if err != nil {
		return nil, err
	}
	calling, err := GetAPIStats(ctx, db, StatsRequest{Selection: Selection{Scope: r.Scope, KFL: "src.name == " + celString(r.Service)}, Limit: 1})
	if err != nil {
		return nil, err
	}
	byService, err := GetAPIStats(ctx, db, StatsRequest{Selection: Selection{Scope: r.Scope, KFL: "dst.name == " + celString(r.Service)}, GroupBy: "dst", Limit: 1})
	if err != nil {
		return nil, err
	}
	a.Serving, a.Calling, a.Endpoints, a.Reading = serving.Totals, calling.Totals, serving.Stats, serving.Reading
	a.Serving.HandshakeP50, a.Serving.HandshakeP90, a.Serving.HandshakeP99 = byService.Totals.HandshakeP50, byService.Totals.HandshakeP90, byService.Totals.HandshakeP99
	around, err := GetServiceMap(ctx, db, MapRequest{Selection: Selection{Scope: r.Scope}, Service: r.Service})
	if err != nil {
		return nil, err
	}
	for _, e := range around.Edges {
		if e.Dst == r.Service {
			a.Callers = append(a.Callers, e)
		}
		if e.Src == r.Service {
			a.Callees = append(a.Callees, e)
		}
	}
	pods := map[string]bool{}
	for _, w := range workloads(db.Identities) {
		if w.named(r.Service) {
			a.Workloads = append(a.Workloads, w.WorkloadRecord)
			if w.Kind == "pod" {
				pods[w.Name] = true
			}
		}
	}
	for _, e := range db.Events {
		if (pods[e.Pod] || strings.HasSuffix(e.Object, "/"+r.Service)) && within(r.Scope, e.Time) {
			a.Events = append(a.Events, e)
		}
	}
	if a.Serving.Calls+a.Calling.Calls+len(a.Workloads) > 0 {
		a.Why = ""
	} else {
		a.Why = "nothing of that name was seen: " + a.Why
	}
	return a, nil
}

// within reports whether a time lies in a window.
func within(s Scope, at int64) bool {
	return at >= nanoseconds(s.Start) && (s.End == 0 || at < nanoseconds(s.End))
}

// named reports whether a workload is a service's.
func (w *workload) named(service string) bool {
	return w.Name == service || slices.ContainsFunc(w.of, func(x *traffic.Workload) bool { return x.Service == service || x.Name() == service })
}
