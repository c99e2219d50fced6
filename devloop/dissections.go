package devloop

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/store"
)

const (
	jobPending   = "pending"
	jobRunning   = "running"
	jobCancelled = "cancelled"

	maxQueued   = 16  // dissections that wait
	maxJobsKept = 100 // dissections that came to nothing, remembered
)

// jobs dissect snapshots, one at a time, in the order in which they were asked for. Those that are completed are the
// store's; the others are written down, so that the next daemon can tell what became of them.
type jobs struct {
	path string
	log  *slog.Logger
	run  func(context.Context, *job) error

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	wake   chan struct{}

	mu      sync.Mutex
	list    []*job // oldest first
	started bool
	closed  bool
}

// job is one dissection of a snapshot.
type job struct {
	query.DissectionJob // behind the lock of jobs
	stop                context.CancelFunc
}

func newJobs(path string, log *slog.Logger, run func(context.Context, *job) error) *jobs {
	j := &jobs{path: path, log: log, run: run, wake: make(chan struct{}, 1)}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.recall()
	return j
}

// recall reads what became of the jobs of the daemon before.
func (j *jobs) recall() {
	b, err := os.ReadFile(j.path)
	if err != nil {
		return // usually there is none
	}
	var list []query.DissectionJob
	if err := json.Unmarshal(b, &list); err != nil {
		j.log.Warn("what became of earlier dissections is unreadable", "err", err)
		return
	}
	for _, d := range list {
		if d.Active {
			d.Active, d.Completed = false, time.Now().UnixMilli()
			if d.Status == jobPending {
				d.Status, d.Errors = jobCancelled, append(d.Errors, "the daemon ended before it was its turn: start it again")
			} else {
				d.Status, d.Errors = failedWord, append(d.Errors, "the daemon ended while it ran: start it again")
			}
		}
		j.list = append(j.list, &job{DissectionJob: d})
	}
}

// save writes the jobs down. The caller holds the lock.
func (j *jobs) save() {
	kept := 0
	for i := len(j.list) - 1; i >= 0; i-- {
		if kept++; kept > maxJobsKept && !j.list[i].Active {
			j.list = slices.Delete(j.list, i, i+1)
		}
	}
	list := make([]query.DissectionJob, 0, len(j.list))
	for _, x := range j.list {
		list = append(list, x.DissectionJob)
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = writeFile(j.path, b)
	}
	if err != nil {
		j.log.Warn("dissections were not written down", "err", err)
	}
}

// add queues a job.
func (j *jobs) add(d query.DissectionJob) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	waiting := 0
	for _, x := range j.list {
		if x.Active && x.ID == d.ID {
			return control.Usagef("get_snapshot_dissection_status tells how far it is; or choose another name", fmt.Sprintf("dissection %s waits or runs already", d.ID))
		}
		if x.Status == jobPending {
			waiting++
		}
	}
	switch {
	case j.closed:
		return &control.Error{What: "the session ends", Exit: control.ExitInterrupt}
	case waiting >= maxQueued:
		return &control.Error{What: fmt.Sprintf("%d dissections wait already, and one runs at a time", waiting), Hint: "list_snapshot_dissections shows them; stop_snapshot_dissection takes one out", Exit: control.ExitEnvironment}
	}
	j.list = slices.DeleteFunc(j.list, func(x *job) bool { return x.ID == d.ID }) // one that came to nothing
	j.list = append(j.list, &job{DissectionJob: d})
	j.save()
	if !j.started {
		j.started = true
		j.wg.Go(j.work)
	}
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return nil
}

// work runs one job after the other.
func (j *jobs) work() {
	for {
		x, ctx := j.begin()
		if x == nil {
			select {
			case <-j.wake:
				continue
			case <-j.ctx.Done():
				return
			}
		}
		j.end(x, ctx, j.run(ctx, x))
	}
}

// begin takes the job that waits longest.
func (j *jobs) begin() (*job, context.Context) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range j.list {
		if x.Status == jobPending && !j.closed {
			x.Status, x.Started = jobRunning, time.Now().UnixMilli()
			ctx, stop := context.WithCancel(j.ctx)
			x.stop = stop
			j.save()
			return x, ctx
		}
	}
	return nil, nil
}

// end notes what became of a job. One that is completed is the store's.
func (j *jobs) end(x *job, ctx context.Context, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	stopped := ctx.Err() != nil
	x.stop()
	x.Active, x.Completed = false, time.Now().UnixMilli()
	switch {
	case err == nil:
		j.list = slices.DeleteFunc(j.list, func(o *job) bool { return o == x })
	case stopped && j.closed:
		x.Status, x.Errors = failedWord, append(x.Errors, "the daemon ended while it ran: start it again")
	case stopped:
		x.Status, x.Errors = jobCancelled, append(x.Errors, "it was stopped")
	default:
		x.Status, x.Errors = failedWord, append(x.Errors, err.Error())
	}
	j.save()
}

// update changes a job under the lock.
func (j *jobs) update(x *job, change func(*query.DissectionJob)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&x.DissectionJob)
}

// all are the jobs that the store does not know, newest first.
func (j *jobs) all() []query.DissectionJob {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []query.DissectionJob
	for _, x := range slices.Backward(j.list) {
		d := x.DissectionJob
		d.Stats.Protocols, d.Errors = maps.Clone(d.Stats.Protocols), slices.Clone(d.Errors)
		list = append(list, d)
	}
	return list
}

// halt stops a job that waits or runs.
func (j *jobs) halt(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, x := range j.list {
		switch {
		case x.ID != id || !x.Active:
		case x.Status == jobPending:
			x.Status, x.Active, x.Completed, x.Errors = jobCancelled, false, time.Now().UnixMilli(), append(x.Errors, "it was stopped before it was its turn")
			j.save()
			return true
		default:
			x.stop()
			return true
		}
	}
	return false
}

// forget drops what is remembered of a job that ended.
func (j *jobs) forget(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.list)
	j.list = slices.DeleteFunc(j.list, func(x *job) bool { return x.ID == id && !x.Active })
	if len(j.list) == before {
		return false
	}
	j.save()
	return true
}

// close stops what runs, and waits for it.
func (j *jobs) close() {
	j.mu.Lock()
	j.closed = true
	for _, x := range j.list {
		if x.Status == jobPending {
			x.Status, x.Active, x.Completed, x.Errors = jobCancelled, false, time.Now().UnixMilli(), append(x.Errors, "the daemon ended before it was its turn: start it again")
		}
	}
	if len(j.list) > 0 {
		j.save()
	}
	j.mu.Unlock()
	j.cancel()
	j.wg.Wait()
}

// StartDissection queues a dissection of a snapshot.
func (s *Session) StartDissection(_ context.Context, r query.StartDissectionRequest) (*query.DissectionJob, error) {
	if r.Snapshot == "" {
		return nil, control.Usagef(snapshotsHint, "which snapshot? give snapshot_id")
	}
	if x, info := s.makings.find(r.Snapshot); x != nil && info.Status == inProgress {
		return nil, control.Usagef("get_snapshot tells when it is there", fmt.Sprintf("snapshot %s is being made", r.Snapshot))
	}
	sn, err := s.snapshot(r.Snapshot)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	name := r.Name
	if name == "" {
		for n := 1; name == "" || s.hasDissection(sn, name); n++ {
			name = fmt.Sprintf("d%d", n)
		}
	}
	switch err := store.CheckName(name); {
	case err != nil:
		return nil, control.Usagef("such as analysis-1", fmt.Sprintf("name %q: use letters, digits, dashes and dots", name))
	case s.hasStored(sn, name):
		return nil, control.Usagef("delete_snapshot_dissection removes it; or choose another name", fmt.Sprintf("there is a dissection %s/%s already", sn.ID(), name))
	}
	d := query.DissectionJob{ID: sn.ID() + "/" + name, Snapshot: sn.ID(), Name: name, Status: jobPending, Active: true}
	d.Stats.Files, d.Stats.Bytes = packetFiles(sn)
	if err := s.jobs.add(d); err != nil {
		return nil, err
	}
	return &d, nil
}

func (s *Session) hasStored(sn *store.Snapshot, name string) bool {
	return slices.ContainsFunc(sn.Dissections(), func(d store.Dissection) bool { return d.Name == name })
}

func (s *Session) hasDissection(sn *store.Snapshot, name string) bool {
	id := sn.ID() + "/" + name
	return s.hasStored(sn, name) || slices.ContainsFunc(s.jobs.all(), func(d query.DissectionJob) bool { return d.ID == id })
}

// packetFiles counts the files of packets of a snapshot.
func packetFiles(sn *store.Snapshot) (files int, bytes int64) {
	for _, f := range sn.Manifest.Files {
		if slices.Contains(sn.Window.Segments, f.Name) {
			files++
			bytes += f.Size
		}
	}
	return files, bytes
}

// dissectSnapshot is what a job does.
func (s *Session) dissectSnapshot(ctx context.Context, x *job) error {
	sn, err := s.store.Snapshot(x.Snapshot)
	if err != nil {
		return err
	}
	defer sn.Close()
	o, err := s.dissectOptions(ctx)
	if err != nil {
		return err
	}
	return sn.DissectInto(ctx, x.Name, o, func(p store.Progress) {
		s.jobs.update(x, func(d *query.DissectionJob) {
			d.Stats.Packets, d.Stats.Entries = p.Packets, p.Calls
			d.Stats.Protocols = maps.Clone(p.Protocols)
			d.Progress = int(99 * p.Part)
		})
	})
}

// ListDissections lists dissections of snapshots, newest first: those that wait, run or came to nothing, and those that
// are there.
func (s *Session) ListDissections(_ context.Context, r query.DissectionsRequest) (*query.DissectionsAnswer, error) {
	limit, err := limited(r.Limit)
	if err != nil {
		return nil, err
	}
	if r.Snapshot != "" {
		sn, err := s.snapshot(r.Snapshot)
		if err != nil {
			return nil, err
		}
		r.Snapshot = sn.ID()
		_ = sn.Close()
	}
	list, err := s.allDissections(r.Snapshot)
	if err != nil {
		return nil, err
	}
	a := &query.DissectionsAnswer{Dissections: list, Total: len(list)}
	if a.Truncated = len(list) > limit; a.Truncated {
		a.Dissections = list[:limit]
	}
	for i := range a.Dissections {
		s.counted(&a.Dissections[i])
	}
	return a, nil
}

// allDissections are those of one snapshot, or of all, without counts.
func (s *Session) allDissections(snapshot string) ([]query.DissectionJob, error) {
	list := []query.DissectionJob{}
	for _, d := range s.jobs.all() {
		if snapshot == "" || d.Snapshot == snapshot {
			list = append(list, d)
		}
	}
	stored, err := s.store.List()
	if err != nil {
		return nil, err
	}
	var there []query.DissectionJob
	for _, info := range stored {
		if snapshot != "" && info.ID != snapshot {
			continue
		}
		sn, err := s.store.Snapshot(info.ID)
		if err != nil {
			continue // deleted meanwhile
		}
		for _, d := range sn.Dissections() {
			j := query.DissectionJob{ID: info.ID + "/" + d.Name, Snapshot: info.ID, Name: d.Name, Status: completed, Progress: 100, Size: d.Size, Completed: d.Created / 1e6}
			j.Stats.Files, j.Stats.Bytes = packetFiles(sn)
			there = append(there, j)
		}
		_ = sn.Close()
	}
	slices.SortStableFunc(there, func(a, b query.DissectionJob) int { return cmp.Compare(b.Completed, a.Completed) })
	return append(list, there...), nil
}

// counted adds to a dissection that is there what it holds.
func (s *Session) counted(j *query.DissectionJob) {
	if j.Status != completed {
		return
	}
	sn, err := s.store.Snapshot(j.Snapshot)
	if err != nil {
		return // deleted meanwhile
	}
	defer sn.Close()
	d, err := sn.Dissection(j.Name)
	if err != nil {
		return
	}
	if n, err := d.Entries(); err == nil {
		j.Stats.Entries = uint64(n)
	}
	if a, err := d.Account(); err == nil {
		j.Stats.Packets = a.Packets
	}
}

// dissectionJob finds the dissection that a request names.
func (s *Session) dissectionJob(r query.DissectionRequest) (*query.DissectionJob, error) {
	snapshot, name := r.Snapshot, r.Name
	if r.ID != "" {
		var ok bool
		if snapshot, name, ok = strings.Cut(r.ID, "/"); !ok || r.Snapshot != "" && r.Snapshot != snapshot || r.Name != "" && r.Name != name {
			return nil, control.Usagef("SNAPSHOT/NAME, from list_snapshot_dissections", fmt.Sprintf("dissection_id %q names no dissection, or another one than snapshot_id and name", r.ID))
		}
	}
	if snapshot == "" {
		return nil, control.Usagef("list_snapshot_dissections (devloop snapshot dissections)", "which dissection? give dissection_id")
	}
	list, err := s.allDissections("")
	if err != nil {
		return nil, err
	}
	var known []string
	for i := range list {
		d := &list[i]
		if d.Snapshot == snapshot && (name == "" || d.Name == name) {
			return d, nil
		}
		known = append(known, d.ID)
	}
	hint := "start_snapshot_dissection (devloop snapshot dissect " + snapshot + ")"
	if len(known) > 0 {
		hint += "; there are " + shortList(known)
	}
	return nil, control.Missing(hint, fmt.Sprintf("there is no dissection %s", strings.TrimSuffix(snapshot+"/"+name, "/")))
}

// GetDissectionJob says how far a dissection is.
func (s *Session) GetDissectionJob(_ context.Context, r query.DissectionRequest) (*query.DissectionJob, error) {
	d, err := s.dissectionJob(r)
	if err != nil {
		return nil, err
	}
	s.counted(d)
	if d.Status == completed && d.Stats.Protocols == nil {
		s.protocols(d)
	}
	return d, nil
}

// protocols counts the calls of a stored dissection by protocol.
func (s *Session) protocols(j *query.DissectionJob) {
	db, release, err := s.stored(j.Snapshot, j.Name)
	if err != nil {
		return // deleted meanwhile
	}
	defer release()
	j.Stats.Protocols, err = store.CountProtocols(db.CallsPath)
	if err != nil {
		s.log.Warn("calls were not counted by protocol", "dissection", j.ID, "err", err)
	}
}

// StopDissection stops a dissection that waits or runs.
func (s *Session) StopDissection(ctx context.Context, r query.DissectionRequest) (*query.DissectionJob, error) {
	d, err := s.dissectionJob(r)
	if err != nil {
		return nil, err
	}
	if !s.jobs.halt(d.ID) {
		return nil, control.Usagef("delete_snapshot_dissection removes it", fmt.Sprintf("dissection %s does not run: it is %s", d.ID, d.Status))
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for { // it looks at its context every thousand packets
		d, err := s.dissectionJob(query.DissectionRequest{ID: d.ID})
		if err != nil || !d.Active {
			return d, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return d, nil
		}
	}
}

// DeleteDissection deletes a dissection that is there, or forgets one that came to nothing.
func (s *Session) DeleteDissection(_ context.Context, r query.DissectionRequest) (*query.Deleted, error) {
	if r.ID == "" && r.Name == "" {
		return nil, control.Usagef("give dissection_id, or snapshot_id and name", "which dissection is to be deleted?")
	}
	d, err := s.dissectionJob(r)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Active:
		return nil, control.Usagef("stop_snapshot_dissection ends it", fmt.Sprintf("dissection %s is %s", d.ID, d.Status))
	case d.Status != completed:
		s.jobs.forget(d.ID)
		return &query.Deleted{Success: true, Name: d.ID}, nil
	}
	sn, err := s.snapshot(d.Snapshot)
	if err != nil {
		return nil, err
	}
	defer sn.Close()
	switch err := sn.DeleteDissection(d.Name); {
	case errors.Is(err, store.ErrJudged), errors.Is(err, fs.ErrNotExist):
		return nil, control.Usagef("delete_snapshot (devloop snapshot delete) removes it with its packets", err.Error())
	case err != nil:
		return nil, err
	}
	return &query.Deleted{Success: true, Name: d.ID}, nil
}

// ListDatabases lists what db can name.
func (s *Session) ListDatabases(ctx context.Context, _ query.DatabasesRequest) (*query.DatabasesAnswer, error) {
	a := &query.DatabasesAnswer{Databases: []query.DatabaseInfo{s.liveInfo()}}
	list, err := s.allDissections("")
	if err != nil {
		return nil, err
	}
	bounds := map[string][2]int64{}
	if all, err := s.store.List(); err == nil {
		for _, info := range all {
			bounds[info.ID] = [2]int64{info.Start / 1e6, info.End / 1e6}
		}
	}
	if len(list) > maxLimit {
		list, a.Truncated = list[:maxLimit], true
	}
	for i := range list {
		d := &list[i]
		s.counted(d)
		b := bounds[d.Snapshot]
		a.Databases = append(a.Databases, query.DatabaseInfo{
			Type: "dissection", DB: d.ID, Snapshot: d.Snapshot, Name: d.Name, Status: d.Status, Entries: int64(d.Stats.Entries), First: b[0], Last: b[1],
		})
	}
	return a, nil
}

// jobsPath is where jobs are written down.
func (s *Session) jobsPath() string { return filepath.Join(s.stateDir(), "dissections.json") }
