package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
)

// Folder is where the kubeconfig files and marks of clusters lie, a folder for each. [Home] is the user's.
type Folder string

// Home is the folder of the user: every workspace finds the same clusters there.
func Home() (Folder, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the folder of clusters: %w", err)
	}
	return Folder(filepath.Join(cache, "devloop", "clusters")), nil
}

// Kubeconfig is the file of a cluster, whether it exists or not.
func (f Folder) Kubeconfig(name string) string { return filepath.Join(f.of(name), "kubeconfig") }

func (f Folder) of(name string) string { return filepath.Join(string(f), name) }

// mark says that devloop made a cluster. kind lets nobody add labels to node containers, so the mark is a file, and it
// counts only as long as the containers are the ones that it names.
type mark struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Nodes   []string  `json:"nodes,omitempty"`   // container ids, once all are there
	Network bool      `json:"network,omitempty"` // kind's network was not there before
}

func (f Folder) markFile(name string) string { return filepath.Join(f.of(name), "cluster.json") }

// readMark returns nil where there is none.
func (f Folder) readMark(name string) (*mark, error) {
	data, err := os.ReadFile(f.markFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var m mark
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		return nil, fmt.Errorf("read the mark of cluster %s: %w", name, err)
	}
	return &m, nil
}

func (f Folder) writeMark(m mark) error {
	data, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = writePrivate(f.markFile(m.Name), append(data, '\n'))
	}
	if err != nil {
		return fmt.Errorf("mark cluster %s as ours: %w", m.Name, err)
	}
	return nil
}

// made reports whether devloop made these containers. A creation that was killed leaves a mark without ids; what has that
// name then is what it had begun.
func (m *mark) made(nodes []container) bool {
	if m == nil {
		return false
	}
	return len(m.Nodes) == 0 || !slices.ContainsFunc(nodes, func(c container) bool { return !slices.Contains(m.Nodes, c.ID) })
}

// finished reports whether the creation came to its end.
func (m *mark) finished() bool { return m != nil && len(m.Nodes) > 0 }

// writePrivate writes beside and renames, for the owner's eyes only.
func writePrivate(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// lock keeps two processes from making or deleting the same cluster at once. The lock file stays: removing one that
// somebody waits for would let two in.
func (f Folder) lock(ctx context.Context, name string) (unlock func(), err error) {
	locks := filepath.Join(string(f), ".locks")
	if err := os.MkdirAll(locks, 0o700); err != nil {
		return nil, fmt.Errorf("lock cluster %s: %w", name, err)
	}
	type locked struct {
		unlock func()
		err    error
	}
	got := make(chan locked, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(filepath.Join(locks, name)).Lock()
		got <- locked{unlock, err}
	}()
	select {
	case l := <-got:
		if l.err != nil {
			return nil, fmt.Errorf("lock cluster %s: %w", name, l.err)
		}
		return l.unlock, nil
	case <-ctx.Done():
		go func() { // flock cannot be interrupted: whoever gets the lock after all gives it back
			if l := <-got; l.err == nil {
				l.unlock()
			}
		}()
		return nil, fmt.Errorf("another devloop is working on cluster %s: %w", name, ctx.Err())
	}
}
