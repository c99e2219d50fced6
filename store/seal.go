package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// Window says what span of traffic a snapshot holds, and whose.
type Window struct {
	ID        string            `json:"id"`
	Start     int64             `json:"start_ns"`
	End       int64             `json:"end_ns"`
	Iteration string            `json:"iteration,omitempty"`
	Revision  string            `json:"revision,omitempty"`
	Builds    map[string]string `json:"builds,omitempty"` // service → build
	Exercise  string            `json:"exercise,omitempty"`
	Source    string            `json:"source,omitempty"` // tap, afpacket, file
	Meta      json.RawMessage   `json:"meta,omitempty"`   // the caller's own, as it was given
	Packets   uint64            `json:"packets"`          // of the segments, as far as they were counted
	Segments  []string          `json:"segments"`         // file names in order

	// Of a snapshot that was cut out of the ring afterwards: its segments reach beyond Start and End, and what lies outside
	// is there only so that what lies inside can be read.
	Cut    bool     `json:"cut,omitempty"`
	Nodes  []string `json:"nodes,omitempty"`  // only what these captured belongs to it; all without
	Filter string   `json:"filter,omitempty"` // KFL that exports are narrowed by
	On     []string `json:"on,omitempty"`     // the nodes that captured, as far as the sealer knew
}

// SealRequest says what to seal.
type SealRequest struct {
	ID          string
	Segments    []capture.Segment  // ended ones, in order
	KeyLog      []byte             // lines of TLS key logs that open connections of the window
	Checkpoint  []byte             // of the dissector at the window's start; nil for an empty one
	Identities  []traffic.Identity //
	Events      []traffic.ClusterEvent
	WindowStart int64 // Unix nanoseconds
	WindowEnd   int64 //
	Iteration   string
	Revision    string
	Builds      map[string]string
	Exercise    string
	Source      string
	Meta        json.RawMessage // anything more that belongs to the window
	Cut         bool            // as in Window
	Nodes       []string        //
	Filter      string          //
	On          []string        //
}

const (
	checkpointName  = "checkpoint.bin"
	identitiesName  = "identities.json"
	eventsName      = "events.json" // only where there are some
	windowName      = "window.json"
	secretsName     = "secrets.keylog" // only where there are some
	checkpointMagic = "devloop checkpoint"
	// CheckpointVersion is of the file around the dissector's state.
	CheckpointVersion = 1
)

// Seal makes a snapshot of ended segments. They are linked, not copied, where the file system can. Nothing of it is
// visible before all of it is; sealing an id twice fails. The caller closes the snapshot.
func (s *Store) Seal(ctx context.Context, req SealRequest) (*Snapshot, error) {
	if err := s.seal(ctx, req); err != nil {
		return nil, fmt.Errorf("seal snapshot %s: %w", req.ID, full(err))
	}
	return s.Snapshot(req.ID)
}

func (s *Store) seal(ctx context.Context, req SealRequest) error {
	if err := checkID(req.ID); err != nil {
		return err
	}
	if _, err := os.Lstat(s.path(req.ID)); err == nil {
		return fmt.Errorf("it exists already: snapshots never change: %w", fs.ErrExist)
	}
	dir, drop, err := s.temp()
	if err != nil {
		return err
	}
	defer drop()
	w := Window{
		ID: req.ID, Start: req.WindowStart, End: req.WindowEnd, Iteration: req.Iteration, Revision: req.Revision,
		Builds: req.Builds, Exercise: req.Exercise, Source: req.Source, Meta: req.Meta, Segments: []string{},
		Cut: req.Cut, Nodes: req.Nodes, Filter: req.Filter, On: req.On,
	}
	names := []string{windowName, identitiesName, checkpointName}
	for i, seg := range req.Segments {
		name := fmt.Sprintf("%04d-%012d.pcapng", i, seg.Seq)
		if err := s.take(ctx, seg, filepath.Join(dir, name)); err != nil {
			return err
		}
		names = append(names, name)
		w.Segments = append(w.Segments, name)
		w.Packets += seg.Packets
	}
	identities := req.Identities
	if identities == nil {
		identities = []traffic.Identity{}
	}
	if err := s.writeJSON(filepath.Join(dir, identitiesName), identities); err != nil {
		return err
	}
	if len(req.Events) > 0 {
		if err := s.writeJSON(filepath.Join(dir, eventsName), req.Events); err != nil {
			return err
		}
		names = append(names, eventsName)
	}
	if err := s.writeJSON(filepath.Join(dir, windowName), w); err != nil {
		return err
	}
	if len(req.KeyLog) > 0 {
		if err := s.write(filepath.Join(dir, secretsName), req.KeyLog); err != nil {
			return err
		}
		names = append(names, secretsName)
	}
	if err := s.write(filepath.Join(dir, checkpointName), packCheckpoint(req.Checkpoint)); err != nil {
		return err
	}
	return s.publish(ctx, dir, s.path(req.ID), req.ID, names)
}

// publish writes the manifest of a finished folder and gives the folder its name. No fsync: a kill -9 loses nothing
// that was written, and after a power cut the manifest tells what did not reach the disk.
func (s *Store) publish(ctx context.Context, dir, place, id string, names []string) error {
	files, err := digestAll(ctx, dir, names)
	if err != nil {
		return err
	}
	m := Manifest{Version: manifestVersion, ID: id, Created: s.o.Now().UnixNano(), Files: files}
	if err := s.writeJSON(filepath.Join(dir, manifestName), m); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.Rename(dir, place)
}

// take links a segment, or copies it across devices.
func (s *Store) take(ctx context.Context, seg capture.Segment, to string) error {
	err := os.Link(seg.Path, to)
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment %d is gone: %w", seg.Seq, err)
	}
	from, err := os.Open(seg.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := s.create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, reader{ctx, from})
	return errors.Join(err, f.Close())
}

// reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

// Read reads unless the context ended.
func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (s *Store) writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return s.write(path, append(b, '\n'))
}

func (s *Store) write(path string, b []byte) error {
	f, err := s.create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// packCheckpoint puts the version before the dissector's state.
func packCheckpoint(state []byte) []byte {
	b := append([]byte(nil), checkpointMagic...)
	b = binary.BigEndian.AppendUint16(b, CheckpointVersion)
	return append(b, state...)
}

// unpackCheckpoint is the dissector's state, nil when it was empty.
func unpackCheckpoint(b []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(b, []byte(checkpointMagic))
	if !ok || len(rest) < 2 {
		return nil, errors.New("read checkpoint: it is none")
	}
	if v := binary.BigEndian.Uint16(rest); v != CheckpointVersion {
		return nil, fmt.Errorf("read checkpoint: version %d; this devloop reads version %d", v, CheckpointVersion)
	}
	if len(rest) == 2 {
		return nil, nil
	}
	return rest[2:], nil
}
