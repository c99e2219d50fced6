package nodeagent

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/agent"
)

// ring is the recorder's ring with positions in it, and a bell for those who follow it.
type ring struct {
	*capture.Recorder
	dir   string
	id    string
	run   string
	node  string
	limit int64

	mu     sync.Mutex
	before map[uint64]uint64 // packets of this run before a segment
	bell   chan struct{}
}

// openRing opens the ring in dir, which an earlier run may have left, with at most limit bytes.
func openRing(dir, node string, limit, segment int64) (*ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make ring folder: %w", err)
	}
	r := &ring{dir: dir, run: random(), node: node, limit: limit, before: map[uint64]uint64{}, bell: make(chan struct{})}
	var err error
	if r.id, err = ringID(filepath.Join(dir, "ring")); err != nil {
		return nil, err
	}
	if err := repair(dir); err != nil {
		return nil, err
	}
	r.Recorder, err = capture.NewRecorder(dir, capture.RecorderOptions{
		// We end segments ourselves, to put into them what the kernel lost; the recorder does at twice the size.
		SegmentSize: 2 * segment, RingSize: limit, HeaderOf: r.head,
	})
	return r, err
}

func random() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

// ringID is the ring's name, which lies beside its segments: a position in one ring means nothing in another.
func ringID(path string) (string, error) {
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && len(id) == 16 && strings.Trim(id, "0123456789abcdef") == "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the ring's name: %w", err)
	}
	id := random()
	if err := os.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("name the ring: %w", err)
	}
	return id, nil
}

// head is asked by the recorder, within its lock.
func (r *ring) head(seq, before uint64) capture.Meta {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before[seq] = before
	for old := range r.before {
		if old+4096 < seq {
			delete(r.before, old)
		}
	}
	comment, err := json.Marshal(agent.Head{Node: r.node, Ring: r.id, Run: r.run, Segment: seq, Before: before})
	if err != nil {
		comment = nil
	}
	return capture.Meta{Hardware: runtime.GOARCH, OS: "linux", Application: "devloop-agent", Comment: string(comment)}
}

// ring tells those who follow that there is more.
func (r *ring) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.bell)
	r.bell = make(chan struct{})
}

// more is closed when there is more than there was when it was asked.
func (r *ring) more() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bell
}

// publish makes what was recorded visible to those who follow.
func (r *ring) publish() error {
	seq, before := r.Flushed()
	err := r.Flush()
	if now, after := r.Flushed(); now != seq || after != before {
		r.wake()
	}
	return err
}

// rotate ends the growing segment.
func (r *ring) rotate(st capture.Stats) error {
	_, err := r.Rotate(st)
	r.wake()
	return err
}

// position is where the ring ends for those who follow, and how many packets of this run lie in earlier segments.
func (r *ring) position() (agent.Position, uint64) {
	seq, offset := r.Flushed()
	if seq == 0 { // after a fault in writing: everything that is there was ended
		for _, s := range r.Segments() {
			seq, offset = s.Seq, s.Bytes
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return agent.Position{Ring: r.id, Segment: seq, Offset: offset}, r.before[seq]
}

// list is what can be read, oldest first. The growing segment is asked for first: one that ends meanwhile is among the
// ended, and none is skipped.
func (r *ring) list() []agent.Segment {
	var list []agent.Segment
	current := r.Current()
	seq, bytes := r.Flushed()
	for _, s := range r.Segments() {
		list = append(list, segment(s))
	}
	if seq != 0 && (len(list) == 0 || list[len(list)-1].Seq < seq) {
		s := agent.Segment{Seq: seq}
		if current.Seq == seq {
			s = segment(current)
		}
		s.Bytes, s.Growing = bytes, true
		list = append(list, s)
	}
	return list
}

func segment(s capture.Segment) agent.Segment {
	return agent.Segment{Seq: s.Seq, Bytes: s.Bytes, Packets: s.Packets, First: s.First, Last: s.Last, Dropped: s.Dropped}
}

// at is the first segment with a number of at least seq.
func (r *ring) at(seq uint64) (agent.Segment, bool) {
	list := r.list()
	i := slices.IndexFunc(list, func(s agent.Segment) bool { return s.Seq >= seq })
	if i < 0 {
		return agent.Segment{}, false
	}
	return list[i], true
}

// open opens a segment's file.
func (r *ring) open(seq uint64) (*os.File, error) {
	f, err := os.Open(filepath.Join(r.dir, fmt.Sprintf("%012d.pcapng", seq)))
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	return f, nil
}

// repair cuts the last segment of a run that was killed after its last whole block, so that whoever follows the ring
// finds blocks only.
func repair(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.pcapng"))
	if err != nil || len(paths) == 0 {
		return err
	}
	path := slices.Max(paths) // numbers have leading zeros
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("repair the ring: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(wholeBlocks(f)); err != nil {
		return fmt.Errorf("repair the ring: %w", err)
	}
	return nil
}

// wholeBlocks is where the last whole pcapng block ends: type 4 | length 4 | … | length 4.
func wholeBlocks(r io.ReaderAt) int64 {
	var at int64
	var b [8]byte
	for {
		if _, err := r.ReadAt(b[:], at); err != nil {
			return at
		}
		size := int64(binary.LittleEndian.Uint32(b[4:]))
		if size < 12 || size%4 != 0 {
			return at
		}
		if _, err := r.ReadAt(b[:4], at+size-4); err != nil || int64(binary.LittleEndian.Uint32(b[:])) != size {
			return at
		}
		at += size
	}
}
