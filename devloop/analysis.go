package devloop

import (
	"cmp"
	"context"
	"errors"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// conclude opens what a scope names and puts a question to it.
func conclude[R, A any](ctx context.Context, s *Session, scope query.Scope, r R, question func(context.Context, *query.Database, R) (*A, error)) (*A, error) {
	db, release, err := s.database(ctx, scope)
	if err != nil {
		return nil, err
	}
	defer release()
	db.Filters = &s.filters
	a, err := question(ctx, db, r)
	return a, mistaken(err)
}

// mistaken gives a mistake in a question the form that all faces know.
func mistaken(err error) error {
	var m *query.Error
	if errors.As(err, &m) {
		if m.Missing {
			return control.Missing(m.Hint, m.What)
		}
		return control.Usagef(m.Hint, m.What)
	}
	return err
}

// CallTree returns the tree of calls that a call belongs to, and where its time went.
func (s *Session) CallTree(ctx context.Context, r query.TreeRequest) (*query.TreeAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.GetCallTree)
}

// CompareTraffic says what differs between two sets of traffic.
func (s *Session) CompareTraffic(ctx context.Context, r query.CompareRequest) (*query.Comparison, error) {
	for _, side := range []*query.Side{&r.A, &r.B} {
		if side.DB == "" && side.Snapshot == "" {
			side.Snapshot = side.Revision
		}
	}
	b, release, err := s.database(ctx, r.B.Scope)
	if err != nil {
		return nil, err
	}
	defer release()
	return conclude(ctx, s, r.A.Scope, r, func(ctx context.Context, a *query.Database, r query.CompareRequest) (*query.Comparison, error) {
		return query.CompareTraffic(ctx, a, b, r)
	})
}

// ListEvents says what happened beside the calls.
func (s *Session) ListEvents(ctx context.Context, r query.EventsRequest) (*query.EventsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListEvents)
}

// Dependents says who is affected when a service goes away.
func (s *Session) Dependents(ctx context.Context, r query.DependentsRequest) (*query.DependentsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.GetDependents)
}

// Egress says what leaves the system.
func (s *Session) Egress(ctx context.Context, r query.EgressRequest) (*query.EgressAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListEgress)
}

// Correlate says whether two numbers of calls go together.
func (s *Session) Correlate(ctx context.Context, r query.CorrelateRequest) (*query.Correlation, error) {
	return conclude(ctx, s, r.Scope, r, query.Correlate)
}

// SensitiveData says where sensitive data was seen.
func (s *Session) SensitiveData(ctx context.Context, r query.SensitiveRequest) (*query.SensitiveAnswer, error) {
	return conclude(ctx, s, r.Scope, r, func(ctx context.Context, db *query.Database, r query.SensitiveRequest) (*query.SensitiveAnswer, error) {
		return query.FindSensitiveData(ctx, db, r, s.store.Redactor().Hash)
	})
}

// Errors says what failed, and why.
func (s *Session) Errors(ctx context.Context, r query.ErrorsRequest) (*query.ErrorsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.FindErrors)
}

// Retries says which requests were made more than once.
func (s *Session) Retries(ctx context.Context, r query.RetriesRequest) (*query.RetriesAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListRetries)
}

// Connections says how connections are opened and used.
func (s *Session) Connections(ctx context.Context, r query.ConnectionsRequest) (*query.ConnectionsAnswer, error) {
	return conclude(ctx, s, r.Scope, r, query.ListConnections)
}

// ExportCalls writes calls to a file.
func (s *Session) ExportCalls(ctx context.Context, r query.ExportRequest) (*query.ExportAnswer, error) {
	r.Format = cmp.Or(r.Format, "csv")
	return conclude(ctx, s, r.Scope, r, func(ctx context.Context, db *query.Database, r query.ExportRequest) (*query.ExportAnswer, error) {
		return query.ExportCalls(ctx, db, r, s.store)
	})
}

// ExportPolicy makes network policies of what was seen.
func (s *Session) ExportPolicy(ctx context.Context, r query.PolicyRequest) (*query.PolicyAnswer, error) {
	return conclude(ctx, s, r.Scope, r, func(ctx context.Context, db *query.Database, r query.PolicyRequest) (*query.PolicyAnswer, error) {
		return query.ExportPolicy(ctx, db, r, s.store)
	})
}
