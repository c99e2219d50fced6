package devloop

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// followEvery is how often the follower looks for new packets.
const followEvery = 50 * time.Millisecond

// follower is the dissector that follows the ring, the growing segment included: it keeps the state that windows begin
// with, and hands the rows that it completes to the live store. It is safe for concurrent use.
type follower struct {
	recorder *capture.Recorder
	keys     *keyLog
	live     *live // may be nil
	stop     chan struct{}
	ended    chan struct{}

	mu      sync.Mutex // of all that follows
	d       *dissect.Dissector
	account traffic.Account // of windows that ended
	done    uint64          // number of the last segment that was read to its end
	reading *followed       // the one that is read now, or nil
	number  uint64
	read    int64 // when everything that had been recorded was read last
	paused  int
	hold    func()

	lookupsMu sync.Mutex
	lookups   store.Lookups
}

// followed is a segment that is read while it grows.
type followed struct {
	seq   uint64
	file  *os.File
	at    int64
	limit int64 // what may be read of it
	r     *pcapfile.Reader
}

// Read reads up to the limit.
func (s *followed) Read(p []byte) (int, error) {
	if s.at >= s.limit {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.limit-s.at)], s.at)
	s.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func newFollower(r *capture.Recorder, resolve func(netip.Addr, int64) (traffic.Workload, bool), keys *keyLog, l *live) *follower {
	f := &follower{recorder: r, keys: keys, live: l, stop: make(chan struct{}), ended: make(chan struct{})}
	f.d = dissect.New(dissect.Options{Resolve: resolve, Node: nodeName, Secrets: keys.secrets, OnCall: f.call, OnConnection: l.connection})
	if segments := r.Segments(); len(segments) > 0 {
		f.done = segments[len(segments)-1].Seq // of an earlier daemon: its connections are gone
	}
	f.hold = r.Hold(f.done + 1)
	go f.run()
	return f
}

// run reads what was recorded, every now and then.
func (f *follower) run() {
	defer close(f.ended)
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.mu.Lock()
			if f.paused == 0 {
				_ = f.follow() // told by the checkpoint that needs it
			}
			f.mu.Unlock()
		case <-f.stop:
			return
		}
	}
}

// call remembers under which names the services looked up what is outside, so that windows after this one call it without
// asking again, and keeps the call while somebody asks for live traffic.
func (f *follower) call(c *traffic.Call) {
	f.lookupsMu.Lock()
	f.lookups.Learn(c)
	f.lookupsMu.Unlock()
	f.live.call(c)
}

// lookedUp are the names of addresses that the environment does not know.
func (f *follower) lookedUp(known []traffic.Identity) []traffic.Identity {
	f.lookupsMu.Lock()
	defer f.lookupsMu.Unlock()
	return f.lookups.Identities(known)
}

// pause keeps the follower from reading on by itself until resume.
func (f *follower) pause() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused++
}

func (f *follower) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused--
}

// checkpoint is the state at the end of a segment. From before that segment ended the follower is paused.
func (f *follower) checkpoint(through uint64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.readEnded(through)
	if err == nil && f.done < through {
		err = fmt.Errorf("the ring ends before segment %d", through)
	}
	if err != nil {
		return nil, fmt.Errorf("follow the recording: %w", err)
	}
	add(&f.account, f.d.EndWindow())
	return f.d.Checkpoint()
}

// packets is how many were read.
func (f *follower) packets() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.number
}

// peek hands out the rows of the connections that are remembered, and the account of everything that was read.
func (f *follower) peek(row func(*traffic.Connection)) traffic.Account {
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := f.account
	sum.Ignored, sum.Malformed, sum.GivenUp = maps.Clone(sum.Ignored), maps.Clone(sum.Malformed), maps.Clone(sum.GivenUp)
	add(&sum, f.d.Peek(row))
	return sum
}

// upTo is until when everything that had been recorded was read.
func (f *follower) upTo() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read
}

// catchUp reads what was recorded so far.
func (f *follower) catchUp() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paused > 0 {
		return nil // a window opens at this moment
	}
	return f.follow()
}

func (f *follower) close() {
	close(f.stop)
	<-f.ended
	f.mu.Lock()
	defer f.mu.Unlock()
	f.leave()
	f.hold()
}

// follow reads every ended segment that is left, and what there is of the growing one. The caller holds the lock.
func (f *follower) follow() error {
	now := time.Now()
	_ = f.recorder.Flush() // what could not be written counts as lost
	// Segments end meanwhile: whatever has a lower number than this one is in the list that is made after it.
	growing := f.recorder.Current()
	seq, whole := f.recorder.Flushed()
	if err := f.readEnded(0); err != nil {
		return err
	}
	if growing.Seq > f.done && growing.Seq == seq {
		f.keys.refresh() // of connections whose packets are read now the secrets are there already
		if err := f.segment(growing, whole); err != nil {
			return err
		}
	}
	f.read = now.UnixNano()
	return nil
}

// readEnded reads the ended segments that are left, through one of them or all.
func (f *follower) readEnded(through uint64) error {
	for _, s := range f.recorder.Segments() {
		if s.Seq <= f.done {
			continue
		}
		if through > 0 && s.Seq > through {
			return nil
		}
		f.keys.refresh()
		if err := f.segment(s, -1); err != nil {
			return err
		}
		f.leave()
		f.done = s.Seq
		release := f.recorder.Hold(f.done + 1)
		f.hold()
		f.hold = release
	}
	return nil
}

// leave closes the segment that is read.
func (f *follower) leave() {
	if f.reading != nil {
		f.reading.file.Close()
		f.reading = nil
	}
}

// segment reads what is left of a segment: up to a place, or to its end where that is negative.
func (f *follower) segment(s capture.Segment, limit int64) error {
	if f.reading == nil || f.reading.seq != s.Seq {
		f.leave()
		file, err := os.Open(s.Path)
		if err != nil {
			return err
		}
		f.reading = &followed{seq: s.Seq, file: file}
		f.reading.r = pcapfile.NewReader(f.reading)
	}
	r := f.reading.r
	f.reading.limit = limit
	if limit < 0 {
		f.reading.limit = 1 << 62
		r.Finish()
	}
	oldest := int64(0)
	defer func() {
		if oldest != 0 {
			f.live.behind(time.Since(time.Unix(0, oldest)))
		}
	}()
	var p traffic.Packet
	for {
		err := r.Next(&p)
		if err == io.EOF || errors.Is(err, pcapfile.ErrTruncated) { // what a full disk cut is counted as lost already
			return nil
		}
		if err != nil {
			return err
		}
		if oldest == 0 {
			oldest = p.Time
		}
		f.number++
		p.Number = f.number
		f.d.Packet(&p, r.Interface(p.Interface))
	}
}

// add sums accounts.
func add(sum *traffic.Account, a traffic.Account) {
	sum.Packets += a.Packets
	sum.Bytes += a.Bytes
	sum.Decoded += a.Decoded
	sum.Missing += a.Missing
	sum.Undecoded += a.Undecoded
	sum.OnePoint += a.OnePoint
	sum.Joined += a.Joined
	for _, m := range []struct {
		to   *map[string]uint64
		from map[string]uint64
	}{{&sum.Ignored, a.Ignored}, {&sum.Malformed, a.Malformed}, {&sum.GivenUp, a.GivenUp}} {
		if *m.to == nil && len(m.from) > 0 {
			*m.to = map[string]uint64{}
		}
		for k, n := range m.from {
			(*m.to)[k] += n
		}
	}
	if sum.First == 0 || a.First != 0 && a.First < sum.First {
		sum.First = a.First
	}
	sum.Last = max(sum.Last, a.Last)
}
