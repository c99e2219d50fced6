package lsp

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/glob"
)

// maxFolders bounds how many packages of a service are followed.
const maxFolders = 2000

// owners knows whose sources a file belongs to.
type owners struct {
	mu      sync.Mutex
	text    string    // of devloop.yaml, that the folders were found for
	since   time.Time // and the facts
	cfg     *config.Config
	folders map[string][]string // folder → services whose packages it holds
}

// of are the services that a file is a source of: it is watched for them, or lies in a package that they are built from, or
// in their folder.
func (s *server) servicesOf(path string) []string {
	_, text, ok := s.configText()
	if !ok {
		return nil
	}
	o := &s.owned
	o.mu.Lock()
	defer o.mu.Unlock()
	if since := s.live.get().since; o.cfg == nil || o.text != text || !o.since.Equal(since) {
		o.text, o.since, o.cfg, o.folders = text, since, s.config(), map[string][]string{}
		if o.cfg == nil {
			return nil
		}
		for name, service := range o.cfg.Services {
			if service.Go != "" {
				o.follow(name, filepath.Join(s.root(), filepath.FromSlash(service.Go)))
			}
		}
	}
	list := slices.Clone(o.folders[filepath.Dir(path)])
	rel := s.relative(path)
	for name, service := range o.cfg.Services {
		dir := strings.Trim(filepath.ToSlash(filepath.Clean(service.Dir)), "/")
		if len(service.Watch) > 0 && glob.Match(service.Watch, rel) || service.Dir != "" && dir != "." && strings.HasPrefix(rel, dir+"/") {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// follow notes the folders of a program's packages, as far as they lie in its module. Nothing is built for it.
func (o *owners) follow(service, dir string) {
	module, top := moduleOf(dir)
	seen := map[string]bool{}
	for queue := []string{dir}; len(queue) > 0 && len(seen) < maxFolders; queue = queue[1:] {
		at := queue[0]
		if seen[at] {
			continue
		}
		seen[at] = true
		o.folders[at] = append(o.folders[at], service)
		files, err := filepath.Glob(filepath.Join(at, "*.go"))
		if err != nil || module == "" {
			continue
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil || strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, i := range parsed.Imports {
				name, err := strconv.Unquote(i.Path.Value)
				if rest, ok := strings.CutPrefix(name, module+"/"); ok && err == nil {
					queue = append(queue, filepath.Join(top, filepath.FromSlash(rest)))
				}
			}
		}
	}
}

// moduleOf is the name and the folder of the module that a folder lies in.
func moduleOf(dir string) (name, top string) {
	for {
		if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			for line := range strings.Lines(string(b)) {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
					return strings.Trim(strings.TrimSpace(rest), `"`), dir
				}
			}
			return "", ""
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", ""
		}
		dir = up
	}
}
