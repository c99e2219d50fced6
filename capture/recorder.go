package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// Segment is one pcapng file of the ring. Numbers grow and are never used again.
type Segment struct {
	Seq     uint64 `json:"seq"`
	Path    string `json:"path"`
	Packets uint64 `json:"packets"` // 0 for segments of an earlier run that nobody has read yet, see ReadSegment
	Bytes   int64  `json:"bytes"`
	First   int64  `json:"first_ns"` // time of the earliest packet, Unix nanoseconds; 0 without packets
	Last    int64  `json:"last_ns"`
	Dropped uint64 `json:"dropped,omitempty"` // what its interface statistics say was lost
}

// Meta is what stands at the head of a new segment.
type Meta = pcapfile.Header

// RecorderOptions are the settings of a [Recorder]. Zero values mean the defaults.
type RecorderOptions struct {
	SegmentSize int64       // a segment ends when it is larger: 64 MiB
	RingSize    int64       // the oldest ended segments are deleted when all together are larger: 1 GiB
	Header      func() Meta // asked at each new segment
	// HeaderOf is asked instead of Header, with the new segment's number and how many packets were written or lost
	// by this recorder before it: what a reader of segments has not got after a segment went missing is a difference.
	HeaderOf func(seq, before uint64) Meta
	Now      func() time.Time // for the times of interface statistics
}

// Recorder writes packets into a ring of segments. It is safe for concurrent use.
//
// A full disk or another fault in writing never ends the recording: [Recorder.Write] returns the error, the packets that
// could not be written count as lost on their interfaces, and the next Write tries again.
type Recorder struct {
	dir string
	o   RecorderOptions

	mu     sync.Mutex
	ended  []Segment // oldest first
	held   map[uint64]int
	seg    Segment // the growing one
	file   *os.File
	w      *pcapfile.Writer // nil between a fault and the next packet
	ifaces []*account       // by Interface.Index
	stray  *account         // losses that belong to no interface
	next   uint64
	total  uint64 // packets that Write was given
	closed bool
}

// account is what one interface received and lost since its statistics were last written.
type account struct {
	ifc      traffic.Interface
	index    int // in the growing segment; -1 when it is not described there
	received uint64
	own      losses // lost by the recorder
	source   losses // lost by the source
	seen     uint64 // the source's total when last asked
	seenFlow map[traffic.FlowLoss]uint64
}

// NewRecorder opens the ring in dir, which it makes when it is missing, and begins a segment. Segments that an earlier run
// left are part of the ring; one that was cut in the middle of a packet is kept as it is, and readers stop at the cut.
func NewRecorder(dir string, o RecorderOptions) (*Recorder, error) {
	if o.SegmentSize <= 0 {
		o.SegmentSize = 64 << 20
	}
	if o.RingSize <= 0 {
		o.RingSize = 1 << 30
	}
	if o.Header == nil {
		o.Header = func() Meta { return Meta{Application: "devloop"} }
	}
	if o.HeaderOf == nil {
		o.HeaderOf = func(uint64, uint64) Meta { return o.Header() }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ring folder: %w", err)
	}
	r := &Recorder{dir: dir, o: o, held: map[uint64]int{}, next: 1}
	if err := r.recover(); err != nil {
		return nil, err
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	return r, nil
}

const segmentSuffix = ".pcapng"

// recover lists what an earlier run left.
func (r *Recorder) recover() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("list ring folder: %w", err)
	}
	for _, e := range entries {
		seq, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), segmentSuffix), 10, 64)
		info, statErr := e.Info()
		if err != nil || statErr != nil || !strings.HasSuffix(e.Name(), segmentSuffix) || !info.Mode().IsRegular() {
			continue
		}
		r.next = max(r.next, seq+1)
		path := filepath.Join(r.dir, e.Name())
		if info.Size() == 0 {
			os.Remove(path)
			continue
		}
		r.ended = append(r.ended, Segment{Seq: seq, Path: path, Bytes: info.Size()})
	}
	slices.SortFunc(r.ended, func(a, b Segment) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return nil
}

// begin opens the next segment and makes room for it.
func (r *Recorder) begin() error {
	r.trim()
	path := filepath.Join(r.dir, fmt.Sprintf("%012d%s", r.next, segmentSuffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("begin segment: %w", err)
	}
	r.seg = Segment{Seq: r.next, Path: path}
	r.next++
	r.file, r.w = f, pcapfile.NewWriter(f, r.o.HeaderOf(r.seg.Seq, r.total))
	for _, a := range r.accounts() {
		a.index = -1
	}
	return nil
}

// trim deletes the oldest segments until the ring is within its bound, except those that someone holds and the newest,
// which the caller of Rotate is about to be told of.
func (r *Recorder) trim() {
	bound := uint64(math.MaxUint64)
	for seq := range r.held {
		bound = min(bound, seq)
	}
	if n := len(r.ended); n > 0 {
		bound = min(bound, r.ended[n-1].Seq)
	}
	total := r.o.SegmentSize
	for _, s := range r.ended {
		total += s.Bytes
	}
	r.ended = slices.DeleteFunc(r.ended, func(s Segment) bool {
		if total <= r.o.RingSize || s.Seq >= bound {
			return false
		}
		total -= s.Bytes
		os.Remove(s.Path)
		return true
	})
}

func (r *Recorder) accounts() []*account {
	list := r.ifaces
	if r.stray != nil {
		list = append(slices.Clip(list), r.stray)
	}
	return slices.DeleteFunc(slices.Clone(list), func(a *account) bool { return a == nil })
}

// Write records a packet that passed ifc. The data is copied before it returns.
func (r *Recorder) Write(p *traffic.Packet, ifc *traffic.Interface) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return errClosed
	}
	a := r.account(ifc)
	if r.w == nil {
		if err := r.begin(); err != nil {
			a.own.add(p)
			r.total++
			return err
		}
	}
	r.total++
	if a.index < 0 {
		a.index = r.w.AddInterface(&a.ifc)
	}
	r.seg.Packets++
	if r.seg.First == 0 || p.Time < r.seg.First {
		r.seg.First = p.Time
	}
	r.seg.Last = max(r.seg.Last, p.Time)
	a.received++
	if err := r.w.Write(p, a.index); err != nil {
		return r.fault(err)
	}
	if r.w.Written() >= r.o.SegmentSize {
		return r.end()
	}
	return nil
}

var errClosed = errors.New("record packet: the recorder is closed")

// account is what is known of ifc in this recording.
func (r *Recorder) account(ifc *traffic.Interface) *account {
	if ifc.Index < len(r.ifaces) && r.ifaces[ifc.Index] != nil {
		return r.ifaces[ifc.Index]
	}
	for len(r.ifaces) <= ifc.Index {
		r.ifaces = append(r.ifaces, nil)
	}
	r.ifaces[ifc.Index] = &account{ifc: *ifc, index: -1}
	return r.ifaces[ifc.Index]
}

// fault ends the segment after a failed write: what lies whole in the file stays, what waited in the buffer is counted
// as lost.
func (r *Recorder) fault(cause error) error {
	r.loseBuffered()
	good := r.w.Written() - int64(r.w.Buffered())
	r.w = nil
	cut := r.file.Truncate(good)
	closing := r.file.Close()
	if good == 0 {
		os.Remove(r.seg.Path)
	} else {
		r.seg.Bytes = good
		r.ended = append(r.ended, r.seg)
	}
	return fmt.Errorf("record packets into %s: %w", r.seg.Path, errors.Join(cause, cut, closing))
}

// loseBuffered counts the packets that wait in the writer as lost. They are whole blocks of our own making, which a
// Reader understands when a section header and the interfaces go before them, unless they begin with these themselves.
func (r *Recorder) loseBuffered() {
	var head strings.Builder
	w := pcapfile.NewWriter(&head, Meta{})
	byIndex := map[int]*account{}
	for _, a := range r.accounts() {
		if a.index >= 0 {
			byIndex[a.index] = a
		}
	}
	for i := range len(byIndex) {
		w.AddInterface(&byIndex[i].ifc)
	}
	if r.w.Written() > int64(r.w.Buffered()) && w.Flush() != nil {
		return
	}
	rd := pcapfile.NewReader(io.MultiReader(strings.NewReader(head.String()), bytes.NewReader(r.w.Pending())))
	var p traffic.Packet
	for rd.Next(&p) == nil {
		a := byIndex[p.Interface]
		a.own.add(&p)
		a.received--
		r.seg.Packets--
	}
}

// end closes the segment with its statistics and begins the next.
func (r *Recorder) end() error {
	now := r.o.Now().UnixNano()
	for _, a := range r.accounts() {
		if a.index < 0 && a.own.dropped+a.source.dropped == 0 {
			continue
		}
		if a.index < 0 {
			a.index = r.w.AddInterface(&a.ifc)
		}
		total := traffic.Interface{}
		a.own.addTo(&total)
		a.source.addTo(&total)
		r.w.Statistics(a.index, now, a.received+total.Dropped, total.Dropped, total.Lost)
		r.seg.Dropped += total.Dropped
	}
	if err := r.w.Flush(); err != nil {
		return r.fault(err)
	}
	for _, a := range r.accounts() {
		a.received, a.own, a.source = 0, losses{}, losses{}
	}
	r.seg.Bytes = r.w.Written()
	r.ended = append(r.ended, r.seg)
	r.w = nil
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("end segment %s: %w", r.seg.Path, err)
	}
	return r.begin()
}

// Flush puts everything written so far into the file, without waiting for the disk.
func (r *Recorder) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return nil
	}
	if err := r.w.Flush(); err != nil {
		return r.fault(err)
	}
	r.seg.Bytes = r.w.Written()
	return nil
}

// Rotate ends the current segment and begins the next. What the source lost since the last Rotate goes into the ended
// segment's interface statistics. When they could not be written the losses are kept for the next Rotate.
func (r *Recorder) Rotate(stats Stats) (Segment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return Segment{}, errClosed
	}
	r.takeLosses(stats)
	if r.w == nil {
		if err := r.begin(); err != nil {
			return Segment{}, err
		}
	}
	seq := r.seg.Seq
	err := r.end()
	for _, s := range r.ended {
		if s.Seq == seq {
			return s, err
		}
	}
	return Segment{}, err
}

// takeLosses adds what the source lost since it was last asked.
func (r *Recorder) takeLosses(stats Stats) {
	for i := range stats.Interfaces {
		if ifc := &stats.Interfaces[i]; ifc.Dropped > 0 {
			r.account(ifc).take(ifc.Dropped, ifc.Lost)
		}
	}
	if n := stats.Unattributed(); n > 0 {
		if r.stray == nil {
			r.stray = &account{ifc: traffic.Interface{Name: "unattributed", Link: traffic.LinkRaw}, index: -1}
		}
		r.stray.take(n, nil)
	}
}

func (a *account) take(dropped uint64, lost []traffic.FlowLoss) {
	a.source.dropped += dropped - min(a.seen, dropped)
	a.seen = max(a.seen, dropped)
	for _, f := range lost {
		n := f.Packets
		f.Packets = 0
		if a.seenFlow == nil {
			a.seenFlow = map[traffic.FlowLoss]uint64{}
		}
		if a.source.flows == nil {
			a.source.flows = map[traffic.FlowLoss]uint64{}
		}
		if seen := a.seenFlow[f]; n > seen {
			a.source.flows[f] += n - seen
			a.seenFlow[f] = n
		}
	}
}

// Current is the growing segment. A pcapfile.Reader can follow it.
func (r *Recorder) Current() Segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seg
	if r.w != nil {
		s.Bytes = r.w.Written()
	}
	return s
}

// Flushed is how much of the growing segment lies whole in its file. Its number is 0 while there is none, after a fault.
func (r *Recorder) Flushed() (seq uint64, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.w == nil {
		return 0, 0
	}
	return r.seg.Seq, r.w.Written() - int64(r.w.Buffered())
}

// Total is how many packets Write was given.
func (r *Recorder) Total() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// Segments lists the ended segments of the ring, oldest first.
func (r *Recorder) Segments() []Segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended)
}

// Lost is how many packets the recorder itself could not write and has not reported in a segment yet.
func (r *Recorder) Lost() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sum uint64
	for _, a := range r.accounts() {
		sum += a.own.dropped
	}
	return sum
}

// Hold keeps the segment with the given number, and all later ones, from being deleted until release is called. While a
// window is held the ring may grow beyond its bound.
func (r *Recorder) Hold(from uint64) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held[from]++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held[from]--; r.held[from] == 0 {
			delete(r.held, from)
		}
	})
}

// Close writes what is buffered and closes the segment, without statistics: [Recorder.Rotate] before it writes those.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if r.w == nil {
		return nil
	}
	if err := r.w.Flush(); err != nil {
		return r.fault(err)
	}
	r.w = nil
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("close segment %s: %w", r.seg.Path, err)
	}
	return nil
}

// ReadSegment counts what is in a segment file, for those of an earlier run. A cut end is no error.
func ReadSegment(path string) (Segment, error) {
	rd, err := pcapfile.Open(path)
	if err != nil {
		return Segment{}, err
	}
	defer rd.Close()
	s := Segment{Path: path}
	s.Seq, _ = strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), segmentSuffix), 10, 64)
	var p traffic.Packet
	for err = rd.Next(&p); err == nil; err = rd.Next(&p) {
		s.Packets++
		if s.First == 0 || p.Time < s.First {
			s.First = p.Time
		}
		s.Last = max(s.Last, p.Time)
	}
	s.Bytes, s.Dropped = rd.Offset(), rd.Dropped()
	if err != io.EOF {
		return s, fmt.Errorf("read segment %s: %w", path, err)
	}
	return s, nil
}
