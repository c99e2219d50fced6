package devloop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// database opens what a scope names. Without a name it is what is captured now, or, while nothing is, what the newest
// iteration left. The caller calls release when it has read all it wants.
func (s *Session) database(ctx context.Context, scope query.Scope) (db *query.Database, release func(), err error) {
	snapshot, name, err := splitDB(scope)
	switch {
	case err != nil:
		return nil, nil, err
	case snapshot == query.Live:
		return s.liveDatabase(ctx)
	case snapshot == query.Newest:
		it, err := s.sealed("")
		if err != nil {
			return nil, nil, err
		}
		return s.stored(it.Snapshot, name)
	case snapshot != "":
		return s.stored(snapshot, name)
	}
	if !s.capturing() {
		if it, err := s.sealed(""); err == nil {
			return s.stored(it.Snapshot, "")
		}
	}
	return s.liveDatabase(ctx)
}

// splitDB reads SNAPSHOT/DISSECTION, SNAPSHOT or live; "" is no wish.
func splitDB(scope query.Scope) (snapshot, dissection string, err error) {
	snapshot, dissection, _ = strings.Cut(scope.DB, "/")
	if strings.HasSuffix(scope.DB, "/") || strings.HasPrefix(scope.DB, "/") || strings.Contains(dissection, "/") || snapshot == query.Live && dissection != "" {
		return "", "", control.Usagef("list_databases (devloop snapshot dissections) names them", fmt.Sprintf("db %q is neither live nor SNAPSHOT/DISSECTION", scope.DB))
	}
	switch {
	case scope.Snapshot == "":
		return snapshot, dissection, nil
	case snapshot != "" && snapshot != scope.Snapshot:
		return "", "", control.Usagef("give one of them", fmt.Sprintf("db %q is not of snapshot %q", scope.DB, scope.Snapshot))
	}
	return scope.Snapshot, dissection, nil
}

// capturing reports whether packets are recorded now.
func (s *Session) capturing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wire != nil
}

// stored opens a dissection of a snapshot, the newest one without a name.
func (s *Session) stored(snapshot, name string) (*query.Database, func(), error) {
	sn, err := s.snapshot(snapshot)
	if err != nil {
		return nil, nil, err
	}
	d, err := s.chosen(sn, name)
	if err != nil {
		return nil, nil, errors.Join(err, sn.Close())
	}
	account, err := d.Account()
	if err != nil {
		return nil, nil, errors.Join(err, sn.Close())
	}
	db := &query.Database{
		Name: sn.ID() + "/" + d.Name, Start: sn.Window.Start, End: sn.Window.End, Account: account, Identities: sn.Identities, Events: sn.Events,
		CallsPath: d.CallsPath(), ConnectionsPath: d.ConnectionsPath(), Empty: nothingIn(sn, &account),
		ReadCalls:       func() iter.Seq2[*traffic.Call, error] { return store.ReadCalls(d.CallsPath()) },
		ReadConnections: func() iter.Seq2[*traffic.Connection, error] { return store.ReadConnections(d.ConnectionsPath()) },
	}
	if rows := s.rows.get(sn.Window.Iteration); rows != nil && d.Name == store.DefaultDissection {
		db.ReadCalls, db.ReadConnections = each(rows.Calls), each(rows.Connections)
	}
	return db, func() { _ = sn.Close() }, nil
}

// nothingIn says why a snapshot's rows are none, where that is known.
func nothingIn(sn *store.Snapshot, a *traffic.Account) string {
	if a.Packets > 0 {
		return ""
	}
	return fmt.Sprintf("no packets were captured in snapshot %s", sn.ID())
}

// each reads rows that are in memory.
func each[T any](rows []*T) func() iter.Seq2[*T, error] {
	return func() iter.Seq2[*T, error] {
		return func(yield func(*T, error) bool) {
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

// snapshot opens a snapshot by its id, or the newest one of a revision such as r7.
func (s *Session) snapshot(id string) (*store.Snapshot, error) {
	sn, err := s.store.Snapshot(id)
	if errors.Is(err, fs.ErrNotExist) {
		if newest := s.newestOf(id); newest != "" {
			sn, err = s.store.Snapshot(newest)
		}
	}
	if err == nil {
		return sn, nil
	}
	hint := "list_snapshots (devloop snapshot list)"
	if known := s.snapshotIDs(); len(known) > 0 {
		hint += "; there are " + shortList(known)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, control.Missing(hint, err.Error())
	}
	return nil, &control.Error{What: err.Error(), Hint: hint, Exit: control.ExitUsage}
}

// newestOf is the newest snapshot of a revision.
func (s *Session) newestOf(revision string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, it := range slices.Backward(s.recent) {
		if it.Revision == revision && it.Snapshot != "" {
			return it.Snapshot
		}
	}
	return ""
}

// snapshotIDs are all snapshots, newest first.
func (s *Session) snapshotIDs() []string {
	list, err := s.store.List()
	if err != nil {
		return nil
	}
	ids := make([]string, 0, len(list))
	for _, sn := range slices.Backward(list) {
		ids = append(ids, sn.ID)
	}
	return ids
}

// shortList names the first few of many.
func shortList(names []string) string {
	const most = 12
	if len(names) > most {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	}
	return strings.Join(names, ", ")
}

// chosen is a dissection of a snapshot by its name, or the newest.
func (s *Session) chosen(sn *store.Snapshot, name string) (*store.Dissection, error) {
	list := sn.Dissections()
	if name == "" && len(list) > 0 {
		name = list[len(list)-1].Name
	}
	next := fmt.Sprintf("start_snapshot_dissection (devloop snapshot dissect %s)", sn.ID())
	if name == "" {
		return nil, control.Usagef(next, fmt.Sprintf("snapshot %s has not been dissected", sn.ID()))
	}
	d, err := sn.Dissection(name)
	if errors.Is(err, fs.ErrNotExist) {
		names := make([]string, len(list))
		for i := range list {
			names[i] = sn.ID() + "/" + list[i].Name
		}
		if len(names) > 0 {
			next = "there are " + shortList(names) + "; " + next
		}
		return nil, control.Missing(next, fmt.Sprintf("snapshot %s has no dissection %q", sn.ID(), name))
	}
	if err != nil {
		return nil, &control.Error{What: err.Error(), Hint: next, Exit: control.ExitUsage}
	}
	return d, nil
}
