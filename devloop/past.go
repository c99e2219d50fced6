package devloop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/kindenv"
	"github.com/devloop-io/devloop/traffic"
)

// keeping is an environment that kept packets from before the daemon listened to it.
type keeping interface {
	// Nodes are those that keep some.
	Nodes() []string
	// Past asks them what they have of a span of time.
	Past(ctx context.Context, from, to int64, nodes []string) (*kindenv.Past, error)
}

var _ keeping = inCluster{}

// pastFolder is beside the ring. What lies in it belongs to snapshots that are being made.
const pastFolder = "past"

// past are the packets of a window that the nodes kept, in segments of their own.
type past struct {
	segments []capture.Segment
	notes    []string
	drop     func()
}

// reaches reports whether a window begins before the packets that came to this daemon.
func (w *wire) reaches(start int64) (keeping, bool) {
	k, ok := w.env.(keeping)
	return k, ok && start < w.began
}

// fetch writes what the nodes kept of a window into segments, beside what an earlier daemon recorded of it.
func (w *wire) fetch(ctx context.Context, start, end int64, nodes []string, tell func(share float64)) (*past, error) {
	p := &past{drop: func() {}}
	k, ok := w.reaches(start)
	if !ok {
		return p, nil
	}
	kept, err := k.Past(ctx, start, end, nodes)
	if err != nil {
		return nil, err
	}
	all, _ := kept.Bytes()
	if all > w.ringSize {
		return nil, control.Usagef("a shorter window, or fewer nodes; or a larger storage.ring", fmt.Sprintf("the nodes hold %d MiB of the window, and storage.ring is %d MiB", all>>20, w.ringSize>>20))
	}
	if oldest := kept.Oldest(); oldest > start {
		p.notes = append(p.notes, fmt.Sprintf("the nodes' rings begin at %s: what was before is not in it", clock(oldest)))
	}
	parent := filepath.Join(filepath.Dir(w.store.RingDir()), pastFolder)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("make a folder for what the nodes kept: %w", err)
	}
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return nil, fmt.Errorf("make a folder for what the nodes kept: %w", err)
	}
	p.drop = func() { _ = os.RemoveAll(dir) } // the next daemon does it again
	if p.segments, err = w.copyPast(ctx, dir, kept, tell); err != nil {
		p.drop()
		return nil, fmt.Errorf("fetch what the nodes kept: %w", err)
	}
	p.notes = append(p.notes, kept.Gaps()...)
	return p, nil
}

// copyPast records what was kept, all but what an earlier daemon has recorded already.
func (w *wire) copyPast(ctx context.Context, dir string, kept *kindenv.Past, tell func(share float64)) (_ []capture.Segment, err error) {
	known := w.recordedBefore()
	r, err := capture.NewRecorder(dir, capture.RecorderOptions{RingSize: 4 * w.ringSize, Header: func() capture.Meta { return header(w.env) }})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	all, _ := kept.Bytes()
	hole := 0 // packets between two spans that are known are in segments of their own
	err = kept.Each(ctx, func(p *traffic.Packet, ifc *traffic.Interface) error {
		after, within := known.find(p.Time)
		if within {
			return nil
		}
		if after > hole {
			hole = after
			if _, err := r.Rotate(capture.Stats{}); err != nil {
				return err
			}
		}
		if r.Total()%4096 == 0 {
			_, read := kept.Bytes()
			tell(float64(read) / float64(max(all, 1)))
		}
		return r.Write(p, ifc)
	})
	if err != nil {
		return nil, err
	}
	if _, err := r.Rotate(kept.Stats()); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(r.Segments(), func(g capture.Segment) bool { return g.Packets == 0 && g.Dropped == 0 }), nil
}

// spans are disjoint spans of time, in order.
type spans [][2]int64

// find says how many spans begin at or before a time, and whether the last of them has it.
func (s spans) find(at int64) (before int, within bool) {
	before, _ = slices.BinarySearchFunc(s, at+1, func(x [2]int64, at int64) int {
		if x[0] < at {
			return -1
		}
		return 1
	})
	return before, before > 0 && at <= s[before-1][1]
}

// recordedBefore is when an earlier daemon recorded.
func (w *wire) recordedBefore() spans {
	var list spans
	for _, g := range w.ring() {
		if g.Seq <= w.before && g.First != 0 {
			list = append(list, [2]int64{g.First, g.Last})
		}
	}
	slices.SortFunc(list, func(a, b [2]int64) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	var joined spans
	for _, x := range list {
		if n := len(joined); n > 0 && x[0] <= joined[n-1][1] {
			joined[n-1][1] = max(joined[n-1][1], x[1])
			continue
		}
		joined = append(joined, x)
	}
	return joined
}

// remarks are what a snapshot's window says of itself, beyond the store's words.
type remarks struct {
	Note string `json:"note,omitempty"`
}

// noted packs sentences into a window.
func noted(notes []string) (json.RawMessage, error) {
	if len(notes) == 0 {
		return nil, nil
	}
	const most = 8
	if more := len(notes) - most; more > 0 {
		notes = append(notes[:most:most], fmt.Sprintf("and %d more", more))
	}
	return json.Marshal(remarks{Note: strings.Join(notes, "; ")})
}

// noteOf is what a window says of itself.
func noteOf(meta json.RawMessage) string {
	var r remarks
	if len(meta) == 0 || json.Unmarshal(meta, &r) != nil { // somebody else's
		return ""
	}
	return r.Note
}
