package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/devloop-io/devloop/traffic"
)

// Snapshot is a sealed span of capture. It is read-only and safe for concurrent use. While it is open it is not
// deleted; close it.
type Snapshot struct {
	Window     Window
	Manifest   Manifest
	Identities []traffic.Identity
	Events     []traffic.ClusterEvent // what happened in the cluster meanwhile

	s     *Store
	dir   string
	held  *os.File
	close sync.Once
}

// Info is what a list says of a snapshot.
type Info struct {
	Window
	Created   int64 `json:"created_ns"`
	Size      int64 `json:"size"`      // bytes, hard links counted in full
	Dissected bool  `json:"dissected"` // its rows are stored

	Dissections []string `json:"dissections,omitempty"` // their names, oldest first
}

// Snapshot opens a sealed snapshot. It looks at the sizes of its files; [Snapshot.Verify] at every byte.
func (s *Store) Snapshot(id string) (*Snapshot, error) {
	sn, err := s.open(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open snapshot %s: there is none: %w", id, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open snapshot %s: %w", id, err)
	}
	return sn, nil
}

func (s *Store) open(id string) (*Snapshot, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	dir := s.path(id)
	s.mu.Lock()
	s.inUse[id]++
	s.mu.Unlock()
	sn := &Snapshot{s: s, dir: dir, Window: Window{ID: id}}
	ok := false
	defer func() {
		if !ok {
			sn.Close()
		}
	}()
	f, err := os.Open(filepath.Join(dir, manifestName))
	if err != nil {
		return nil, err
	}
	sn.held = f
	hold(f)
	m, err := readManifest(dir, id)
	if err != nil {
		return nil, err
	}
	if err := m.checkSizes(dir); err != nil {
		return nil, err
	}
	sn.Manifest = *m
	if err := readJSON(filepath.Join(dir, windowName), &sn.Window); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(dir, identitiesName), &sn.Identities); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == eventsName }) {
		if err := readJSON(filepath.Join(dir, eventsName), &sn.Events); err != nil {
			return nil, err
		}
	}
	for _, name := range sn.Window.Segments {
		if !slices.ContainsFunc(m.Files, func(f File) bool { return f.Name == name }) {
			return nil, fmt.Errorf("segment %q is not in its manifest", name)
		}
	}
	ok = true
	return sn, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return nil
}

// Close lets the snapshot be deleted again.
func (sn *Snapshot) Close() error {
	sn.close.Do(func() {
		if sn.held != nil {
			sn.held.Close()
		}
		sn.s.mu.Lock()
		defer sn.s.mu.Unlock()
		if sn.s.inUse[sn.Window.ID]--; sn.s.inUse[sn.Window.ID] <= 0 {
			delete(sn.s.inUse, sn.Window.ID)
		}
	})
	return nil
}

// ID of the snapshot.
func (sn *Snapshot) ID() string { return sn.Manifest.ID }

// Dir is its folder.
func (sn *Snapshot) Dir() string { return sn.dir }

// Info is what a list says of it now.
func (sn *Snapshot) Info() Info {
	i := Info{Window: sn.Window, Created: sn.Manifest.Created, Size: sn.Manifest.Size()}
	i.add(sn.Dissections())
	return i
}

func (i *Info) add(list []Dissection) {
	for _, d := range list {
		i.Dissected = true
		i.Size += d.Size
		i.Dissections = append(i.Dissections, d.Name)
	}
}

// Verify digests every file again, those of its dissection too, and says which one is not as it was sealed.
func (sn *Snapshot) Verify(ctx context.Context) error {
	if err := sn.Manifest.verify(ctx, sn.dir); err != nil {
		return fmt.Errorf("verify snapshot %s: %w", sn.ID(), err)
	}
	for _, d := range sn.Dissections() {
		m, err := readManifest(d.dir, sn.ID())
		if err == nil {
			err = m.verify(ctx, d.dir)
		}
		if err != nil {
			return fmt.Errorf("verify dissection %s of snapshot %s: %w", d.Name, sn.ID(), err)
		}
	}
	return nil
}

// Checkpoint is the dissector's state at the window's start, nil when it began with nothing.
func (sn *Snapshot) Checkpoint() ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(sn.dir, checkpointName))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint of snapshot %s: %w", sn.ID(), err)
	}
	state, err := unpackCheckpoint(b)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", sn.ID(), err)
	}
	return state, nil
}

// List is all snapshots, the oldest first. Folders that are none, or damaged, are left out.
func (s *Store) List() ([]Info, error) {
	entries, err := os.ReadDir(s.snapshots())
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	var list []Info
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		if info, err := s.info(e.Name()); err == nil {
			list = append(list, info)
		}
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

func (s *Store) info(id string) (Info, error) {
	dir := s.path(id)
	m, err := readManifest(dir, id)
	if err != nil {
		return Info{}, err
	}
	info := Info{Created: m.Created, Size: m.Size()}
	if err := readJSON(filepath.Join(dir, windowName), &info.Window); err != nil {
		return Info{}, err
	}
	info.add(dissections(dir, id))
	return info, nil
}

// ErrInUse says that someone has the snapshot open.
var ErrInUse = errors.New("it is in use")

// Delete removes a snapshot that nobody has open.
func (s *Store) Delete(id string) error {
	if err := s.remove(id); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("there is none: %w", fs.ErrNotExist)
		}
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

func (s *Store) remove(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inUse[id] > 0 || held(filepath.Join(s.path(id), manifestName)) {
		return ErrInUse
	}
	if _, err := os.Lstat(s.path(id)); err != nil {
		return err
	}
	dir, drop, err := s.temp()
	if err != nil {
		return err
	}
	defer drop()
	return os.Rename(s.path(id), filepath.Join(dir, id)) // gone at once; drop removes the files
}

// Retain deletes snapshots until the rest is within the bounds of age and total size, and says which: the oldest first,
// those of iterations before those that somebody asked for. The newest stays, and what is open stays.
func (s *Store) Retain() ([]string, error) {
	list, err := s.List()
	if err != nil {
		return nil, err
	}
	var total int64
	for _, info := range list {
		total += info.Size
	}
	oldest := s.o.Now().Add(-s.o.MaxAge).UnixNano()
	var gone []string
	victims := list[:max(0, len(list)-1)]
	slices.SortStableFunc(victims, func(a, b Info) int { return cmp.Compare(lasting(a), lasting(b)) })
	for _, info := range victims {
		if total <= s.o.MaxSize && info.Created >= oldest {
			continue
		}
		switch err := s.Delete(info.ID); {
		case errors.Is(err, ErrInUse) || errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return gone, err
		default:
			total -= info.Size
			gone = append(gone, info.ID)
		}
	}
	return gone, nil
}

// lasting is 1 for a snapshot that no iteration made by itself.
func lasting(i Info) int {
	if i.Iteration == "" {
		return 1
	}
	return 0
}

// Bounds are those of retention.
func (s *Store) Bounds() (size int64, age time.Duration) { return s.o.MaxSize, s.o.MaxAge }
