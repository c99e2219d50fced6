package lsp

import (
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/glob"
	"github.com/devloop-io/devloop/lsp/routes"
)

// maxSources bounds how many source files of a workspace are read.
const maxSources = 20_000

// index is the routes that the source files of a workspace register. A file is read again when its time or size has changed.
type index struct {
	mu    sync.Mutex
	files map[string]indexed // those that were read
}

type indexed struct {
	changed time.Time
	size    int64
	routes  []routes.Route
}

// of are the files that register routes, as they lie there now.
func (x *index) of(root string) map[string][]routes.Route {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := make(map[string]indexed, len(x.files))
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error { // what cannot be read has no routes
		switch {
		case err != nil:
			return nil
		case d.IsDir():
			if path != root && glob.Pruned(d.Name()) {
				return filepath.SkipDir
			}
			return nil
		case !routes.Reads(path):
			return nil
		case len(next) >= maxSources:
			return filepath.SkipAll
		}
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		f, ok := x.files[path]
		if !ok || !f.changed.Equal(info.ModTime()) || f.size != info.Size() {
			f = indexed{changed: info.ModTime(), size: info.Size()}
			if text, err := readBounded(path); err == nil {
				f.routes = routes.Scan(path, text)
			}
		}
		next[path] = f
		return nil
	})
	x.files = next
	found := map[string][]routes.Route{}
	for path, f := range next {
		if len(f.routes) > 0 {
			found[path] = f.routes
		}
	}
	return found
}

var (
	quotedPath = regexp.MustCompile(`["'](/[^"']*)["']`)
	toService  = regexp.MustCompile(`\bdst\.(?:service\.)?name\s*==\s*["']([^"']+)["']`)
)

// handlers are where a path is served that a check speaks of: by the service that it names, or by any.
func (s *server) handlers(line string, column int, on string) []Location {
	asked := ""
	for _, m := range quotedPath.FindAllStringSubmatchIndex(line, -1) {
		if column >= m[2] && column <= m[3] {
			asked = line[m[2]:m[3]]
		}
	}
	if asked == "" {
		return nil
	}
	service := ""
	if m := toService.FindStringSubmatch(on); m != nil {
		service = m[1]
	}
	var list []Location
	files := s.sources.of(s.root())
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if service != "" && !slices.Contains(s.servicesOf(path), service) {
			continue
		}
		found := files[path]
		at := map[int]bool{}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			for _, n := range routes.Match(found, routes.Observe(method+" "+asked)) {
				at[n] = true
			}
		}
		if len(at) == 0 {
			continue
		}
		d, err := s.read(path)
		if err != nil {
			continue
		}
		for _, n := range slices.Sorted(maps.Keys(at)) {
			list = append(list, Location{d.uri, d.span(found[n].Line, found[n].From, found[n].To)})
		}
	}
	return list
}
