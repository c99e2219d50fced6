package nodeagent

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/devloop-io/devloop/capture/tap"
)

// group is one cgroup of the node.
type group struct {
	ID   uint64
	Path string // below the root, without a slash at its beginning
	Identity
}

// Bounds of a walk. A kubelet allows 110 pods by default.
const (
	maxGroups = 16384
	maxDepth  = 16
)

// walk lists all cgroups below root, parents first. Folders that vanish meanwhile are left out.
func walk(root string) ([]group, error) {
	var list []group
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if path == root {
				return err
			}
			return nil
		}
		if !d.IsDir() || path == root {
			return nil
		}
		rel := path[len(root)+1:]
		if strings.Count(rel, "/") >= maxDepth || len(list) >= maxGroups {
			return fs.SkipDir
		}
		id, err := tap.CGroupID(path)
		if err != nil {
			return nil
		}
		list = append(list, group{ID: id, Path: rel, Identity: Identify(rel)})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list cgroups below %s: %w", root, err)
	}
	return list, nil
}

// groups follows the node's cgroups.
type groups struct {
	root   string
	rootID uint64

	mu   sync.Mutex
	list []group
	byID map[uint64]group
}

func newGroups(root string) (*groups, error) {
	id, err := tap.CGroupID(root)
	if err != nil {
		return nil, err
	}
	g := &groups{root: filepath.Clean(root), rootID: id}
	_, err = g.walk()
	return g, err
}

// walk looks at all folders and says whether they changed.
func (g *groups) walk() (changed bool, err error) {
	list, err := walk(g.root)
	if err != nil {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if slices.Equal(list, g.list) {
		return false, nil
	}
	g.list, g.byID = list, make(map[uint64]group, len(list))
	for _, e := range list {
		g.byID[e.ID] = e
	}
	return true, nil
}

// all is the list of the last walk.
func (g *groups) all() []group {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list
}

// find is the cgroup with an id. An unknown one is looked for.
func (g *groups) find(id uint64) (group, bool) {
	if id == g.rootID {
		return group{ID: id, Identity: Identity{Host: "kernel"}}, true
	}
	g.mu.Lock()
	found, ok := g.byID[id]
	g.mu.Unlock()
	if ok {
		return found, ok
	}
	g.walk()
	g.mu.Lock()
	defer g.mu.Unlock()
	found, ok = g.byID[id]
	return found, ok
}

// mine is the cgroup that this process is in, 0 when it cannot be told. In a container the process does not know its own
// path, and of the processes in the folders it sees none but those of its own PID namespace.
func (g *groups) mine() uint64 {
	pid := strconv.Itoa(os.Getpid())
	for _, e := range g.all() {
		b, err := os.ReadFile(filepath.Join(g.root, e.Path, "cgroup.procs"))
		if err == nil && slices.Contains(strings.Fields(string(b)), pid) {
			return e.ID
		}
	}
	return 0
}
