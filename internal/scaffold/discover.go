package scaffold

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/glob"
)

// Bounds of what is looked at: a first guess is wanted, not an analysis.
const (
	maxFiles    = 20_000
	maxFileSize = 1 << 20
)

// found is a service as it was found, from several places.
type found struct {
	name       string
	goDir      string // with main.go, relative; "." is the workspace
	command    string
	dockerfile string
	dir        string
	image      string
	ports      map[string]int
	env        map[string]string
	ready      string // path that answers when it is ready
	dependsOn  []string
	listens    bool     // something says that it serves
	from       []string // files that say so
}

// finding is all that was found in a repository.
type finding struct {
	services     map[string]*found
	dependencies map[string]*found
}

// discover looks at the files of a repository, each kind in turn: later kinds add to what earlier ones found.
func discover(dir string) (*finding, error) {
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	f := &finding{services: map[string]*found{}, dependencies: map[string]*found{}}
	mains(f, dir, files)
	for _, file := range files {
		base := path.Base(file)
		switch {
		case isCompose(base):
			compose(f, dir, file)
		case strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml"):
			manifest(f, dir, file)
		}
	}
	for _, file := range files {
		if base := path.Base(file); base == "Dockerfile" || strings.HasPrefix(base, "Dockerfile.") || strings.HasSuffix(base, ".Dockerfile") {
			dockerfile(f, dir, file)
		}
	}
	scripts(f, dir, files)
	interpreted(f, dir, files)
	f.dropTools()
	return f, nil
}

func list(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if p == dir {
				return err
			}
			return nil //nolint:nilerr // what cannot be read is not looked at
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			hidden := strings.HasPrefix(base, ".") || base == "vendor" || base == "testdata" || base == "third_party"
			if p != dir && (hidden || glob.Pruned(base)) {
				return fs.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() <= maxFileSize {
			files = append(files, filepath.ToSlash(rel))
		}
		if len(files) >= maxFiles {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", dir, err)
	}
	return files, nil
}

// text returns a file's content, and "" where it cannot be read.
func text(dir, file string) string {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(file)))
	if err != nil {
		return ""
	}
	return string(b)
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// label makes a DNS label of a name.
func label(name string) string {
	l := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(name), "-"), "-")
	return strings.Trim(l[:min(len(l), 63)], "-")
}

func (f *finding) service(name, from string) *found { return get(f.services, name, from) }

func get(in map[string]*found, name, from string) *found {
	s := in[name]
	if s == nil {
		s = &found{name: name, ports: map[string]int{}, env: map[string]string{}}
		in[name] = s
	}
	if from != "" && !slices.Contains(s.from, from) {
		s.from = append(s.from, from)
	}
	return s
}

// port adds a port under a name that fits, unless the number is known.
func (s *found) port(name string, number int) {
	if number < 1 || number > 65535 {
		return
	}
	for _, known := range s.ports {
		if known == number {
			return
		}
	}
	s.listens = true
	name = label(name)
	if name == "" && !has(s.ports, "http") {
		name = "http"
	}
	if name == "" || has(s.ports, name) {
		name = "port-" + strconv.Itoa(number)
	}
	s.ports[name] = number
}

func has(ports map[string]int, name string) bool {
	_, ok := ports[name]
	return ok
}

// mains finds Go programs, and ports in what they say.
func mains(f *finding, dir string, files []string) {
	byDir := map[string][]string{}
	for _, file := range files {
		if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
			byDir[path.Dir(file)] = append(byDir[path.Dir(file)], file)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(byDir)) {
		hints, isMain := &goHints{}, false
		for _, file := range byDir[folder] {
			isMain = hints.read(text(dir, file)) || isMain
		}
		if !isMain {
			continue
		}
		name := label(path.Base(folder))
		if folder == "." {
			name = label(cmp.Or(moduleName(text(dir, "go.mod")), filepath.Base(dir)))
		}
		if name == "" || f.services[name] != nil {
			name = label(folder)
		}
		s := f.service(cmp.Or(name, "app"), folder)
		s.goDir, s.ready = folder, hints.ready
		for _, number := range hints.ports {
			s.port("", number)
		}
		s.listens = s.listens || hints.listens
	}
}

var moduleLine = regexp.MustCompile(`(?m)^module\s+"?([^\s"]+)`)

func moduleName(mod string) string {
	m := moduleLine.FindStringSubmatch(mod)
	if m == nil {
		return ""
	}
	return path.Base(m[1])
}

// goHints is what the literals of a program tell about how it serves.
type goHints struct {
	ports   []int
	ready   string
	listens bool
}

var (
	listenLiteral = regexp.MustCompile(`^(?:0\.0\.0\.0|localhost|127\.0\.0\.1|\[::\])?:(\d{2,5})$`)
	portLiteral   = regexp.MustCompile(`^\d{2,5}$`)
	readyLiteral  = regexp.MustCompile(`^(?:GET )?(/(?:-/)?(?:healthz|health|readyz|ready|livez|ping|status))$`)
)

// read takes the hints of one file, and says whether it is part of a program with func main.
func (h *goHints) read(source string) bool {
	file, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution|parser.ParseComments)
	if err != nil || file.Name.Name != "main" || ignored(file) {
		return false
	}
	isMain := false
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			isMain = isMain || n.Recv == nil && n.Name.Name == "main"
		case *ast.SelectorExpr:
			h.listens = h.listens || strings.HasPrefix(n.Sel.Name, "ListenAndServe") || n.Sel.Name == "Serve"
		case *ast.CallExpr:
			h.call(n)
		case *ast.BasicLit:
			h.literal(n)
		}
		return true
	})
	return isMain
}

// ignored says whether a build constraint keeps the file out of every usual build.
func ignored(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() > file.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			if x, err := constraint.Parse(c.Text); err == nil && !x.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

func (h *goHints) literal(l *ast.BasicLit) {
	value, err := strconv.Unquote(l.Value)
	if l.Kind != token.STRING || err != nil {
		return
	}
	if m := listenLiteral.FindStringSubmatch(value); m != nil {
		h.port(m[1])
	}
	if m := readyLiteral.FindStringSubmatch(value); m != nil && h.ready == "" {
		h.ready = m[1]
	}
}

// call finds the number in calls like env("PORT", "8080") and cmp.Or(os.Getenv("PORT"), "8080").
func (h *goHints) call(c *ast.CallExpr) {
	named, number := false, ""
	for _, arg := range c.Args {
		if inner, ok := arg.(*ast.CallExpr); ok && len(inner.Args) == 1 {
			arg = inner.Args[0]
		}
		l, ok := arg.(*ast.BasicLit)
		if !ok {
			continue
		}
		value := strings.Trim(l.Value, "\"`")
		named = named || strings.HasSuffix(strings.ToUpper(value), "PORT")
		if portLiteral.MatchString(value) {
			number = value
		}
	}
	if named && number != "" {
		h.port(number)
	}
}

func (h *goHints) port(number string) {
	if n, err := strconv.Atoi(number); err == nil && !slices.Contains(h.ports, n) {
		h.ports, h.listens = append(h.ports, n), true
	}
}

var (
	exposeLine = regexp.MustCompile(`(?mi)^\s*EXPOSE\s+(.*)$`)
	goBuild    = regexp.MustCompile(`go (?:build|install)\b[^\n]*?\s(\./[\w./-]+)`)
)

// dockerfile adds what a Dockerfile exposes to the service that it builds.
func dockerfile(f *finding, dir, file string) {
	content, folder := text(dir, file), path.Dir(file)
	goDir := folder
	if m := goBuild.FindStringSubmatch(content); m != nil {
		goDir = path.Join(folder, m[1])
		if folder != "." && f.byGoDir(goDir) == nil {
			goDir = path.Clean(m[1]) // the build's context is the workspace
		}
	}
	s := f.byGoDir(goDir)
	if s == nil {
		if s = f.byDockerfile(file); s == nil {
			name := label(path.Base(folder))
			if folder == "." {
				name = label(filepath.Base(dir))
			}
			if s = f.services[name]; s == nil {
				s = f.service(cmp.Or(name, "app"), file)
			}
		}
	}
	if s.goDir == "" && s.command == "" && s.image == "" {
		s.dockerfile = file
	}
	get(f.services, s.name, file)
	for _, m := range exposeLine.FindAllStringSubmatch(content, -1) {
		for word := range strings.FieldsSeq(m[1]) {
			number, proto, _ := strings.Cut(word, "/")
			if n, err := strconv.Atoi(number); err == nil && proto != "udp" {
				s.port("", n)
			}
		}
	}
}

func (f *finding) byGoDir(folder string) *found {
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		if f.services[name].goDir == folder {
			return f.services[name]
		}
	}
	return nil
}

func (f *finding) byDockerfile(file string) *found {
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		if f.services[name].dockerfile == file {
			return f.services[name]
		}
	}
	return nil
}

// scripts takes package.json's start script and a Procfile, where no better is known of their folder.
func scripts(f *finding, dir string, files []string) {
	for _, file := range files {
		folder := path.Dir(file)
		switch path.Base(file) {
		case "package.json":
			var p struct {
				Name    string            `json:"name"`
				Scripts map[string]string `json:"scripts"`
			}
			if json.Unmarshal([]byte(text(dir, file)), &p) != nil {
				continue
			}
			script := cmp.Or(p.Scripts["start"], p.Scripts["dev"])
			if script == "" {
				continue
			}
			name := label(path.Base(folder))
			if folder == "." {
				name = label(cmp.Or(path.Base(p.Name), filepath.Base(dir)))
			}
			if s := f.services[name]; s != nil && s.goDir != "" {
				continue
			}
			s := f.service(cmp.Or(name, "web"), file)
			s.command, s.dockerfile, s.image, s.listens = "npm start", "", "", true
			if p.Scripts["start"] == "" {
				s.command = "npm run dev"
			}
			if folder != "." {
				s.dir = folder
			}
		case "Procfile":
			procfile(f, file, text(dir, file))
		}
	}
}

func procfile(f *finding, file, content string) {
	for line := range strings.Lines(content) {
		name, command, ok := strings.Cut(strings.TrimSpace(line), ":")
		command = strings.TrimSpace(command)
		if !ok || strings.HasPrefix(name, "#") || command == "" || f.services[label(name)] != nil || label(name) == "" {
			continue
		}
		if _, err := config.SplitWords(command); err != nil || strings.ContainsAny(command, "|&;<>$`") {
			command = "sh -c " + config.JoinWords([]string{command})
		}
		s := f.service(label(name), file)
		s.command, s.listens = command, true
		if d := path.Dir(file); d != "." {
			s.dir = d
		}
	}
}

// dropTools leaves out programs that do not seem to serve, where others do.
func (f *finding) dropTools() {
	serving := 0
	for _, s := range f.services {
		if s.listens {
			serving++
		}
	}
	if serving > 0 {
		maps.DeleteFunc(f.services, func(_ string, s *found) bool { return !s.listens })
	}
}
