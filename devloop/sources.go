package devloop

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"hash"
	"io/fs"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/devloop/watch"
	"github.com/devloop-io/devloop/internal/config"
)

// sources knows which files each service is made of, so that a save builds only what it touches.
type sources struct {
	cfg  *config.Config
	dirs map[string]map[string]bool // Go service → package folders, relative to the workspace, slashes
}

// newSources asks the Go toolchain for the packages of each Go service. Where that fails (code that does not parse yet),
// every Go file counts for every Go service: a build too many is better than one too few.
func newSources(ctx context.Context, cfg *config.Config) *sources {
	s := &sources{cfg: cfg}
	if dirs, err := goPackages(ctx, cfg); err == nil {
		s.dirs = dirs
	}
	return s
}

// touched names the services that a change of files makes stale, sorted.
func (s *sources) touched(paths []string) []string {
	stale := map[string]bool{}
	for _, p := range paths {
		for name, service := range s.cfg.Services {
			if s.touches(name, service, p) {
				stale[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(stale))
}

func (s *sources) touches(name string, service config.Service, p string) bool {
	if service.EnvFile != "" && path.Clean(filepath.ToSlash(service.EnvFile)) == p {
		return true
	}
	if len(service.Watch) > 0 {
		return watch.Match(service.Watch, p)
	}
	if service.Go == "" {
		return false
	}
	switch base := path.Base(p); {
	case base == "go.mod" || base == "go.sum" || base == "go.work":
		return true
	case strings.HasSuffix(base, "_test.go"):
		return false
	case s.dirs == nil || s.dirs[name] == nil:
		return strings.HasSuffix(base, ".go")
	}
	// A file below a package's folder may be embedded in it.
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if s.dirs[name][dir] {
			return dir == path.Dir(p) || !strings.HasSuffix(p, ".go")
		}
		if dir == "." || dir == "/" {
			return false
		}
	}
}

// goPackages lists, per Go service, the folders of the packages it is built from that lie in the workspace.
func goPackages(ctx context.Context, cfg *config.Config) (map[string]map[string]bool, error) {
	mains := map[string]string{} // folder → service
	args := []string{"list", "-deps", "-e", "-f", "{{if not .Standard}}{{.ImportPath}}\t{{.Dir}}\t{{join .Imports \",\"}}{{end}}"}
	for name, s := range cfg.Services {
		if s.Go != "" {
			mains[name] = filepath.Join(cfg.Dir, s.Go)
			args = append(args, "./"+strings.TrimPrefix(filepath.ToSlash(filepath.Clean(s.Go)), "./"))
		}
	}
	if len(mains) == 0 {
		return nil, errors.New("no Go services")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = cfg.Dir
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages of the services: %w", err)
	}
	dirOf, importsOf, packageAt := map[string]string{}, map[string][]string{}, map[string]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			continue
		}
		dirOf[f[0]], importsOf[f[0]], packageAt[f[1]] = f[1], strings.Split(f[2], ","), f[0]
	}
	result := map[string]map[string]bool{}
	for name, dir := range mains {
		result[name] = map[string]bool{}
		reach(packageAt[dir], importsOf, map[string]bool{}, func(pkg string) {
			if rel, err := filepath.Rel(cfg.Dir, dirOf[pkg]); err == nil && filepath.IsLocal(rel) {
				result[name][filepath.ToSlash(rel)] = true
			}
		})
	}
	return result, nil
}

// importsOf is what a Go file imports, as one text; of a file that does not parse, nothing. It tells whether a save can
// have changed which packages a service is made of.
func importsOf(file string) string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, spec := range f.Imports {
		b.WriteString(spec.Path.Value)
	}
	return b.String()
}

// relistSources asks the Go toolchain again, beside the loop, when a save changed imports.
func (s *Session) relistSources(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.relist || s.env == nil {
		return
	}
	s.relist = false
	cfg := s.cfg
	s.listing.Go(func() {
		src := newSources(ctx, cfg)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.cfg == cfg {
			s.sources = src
		}
	})
}

func reach(pkg string, imports map[string][]string, seen map[string]bool, visit func(string)) {
	if seen[pkg] || imports[pkg] == nil {
		return
	}
	seen[pkg] = true
	visit(pkg)
	for _, next := range imports[pkg] {
		reach(next, imports, seen, visit)
	}
}

// hashWatched adds names, sizes and times of a service's files to a hash.
func hashWatched(h hash.Hash, dir string, globs []string) error {
	if len(globs) == 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // a file that went away in between is not part of the build
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if base := d.Name(); base == ".git" || base == "node_modules" || base == ".devloop" {
				return filepath.SkipDir
			}
			return nil
		}
		if watch.Match(globs, rel) {
			if info, err := d.Info(); err == nil {
				fmt.Fprintf(h, "%q %d %d\n", rel, info.Size(), info.ModTime().UnixNano())
			}
		}
		return nil
	})
}
