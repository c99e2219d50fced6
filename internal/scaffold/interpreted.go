package scaffold

import (
	"cmp"
	"encoding/json"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/internal/config"
)

// interpreters run a service's sources where they lie: what starts with one of them needs no image.
var interpreters = []string{
	"python", "python3", "uvicorn", "gunicorn", "hypercorn", "flask", "fastapi", "poetry", "uv",
	"node", "npm", "npx", "yarn", "pnpm", "bun", "deno", "ruby", "bundle", "rackup", "php",
}

// pythonPrograms are the names under which Python services begin, the likeliest first.
var pythonPrograms = []string{"app.py", "main.py", "server.py", "__main__.py"}

var (
	startLine    = regexp.MustCompile(`(?mi)^\s*(CMD|ENTRYPOINT)\s+(.+?)\s*$`)
	pythonServes = regexp.MustCompile(`serve_forever\(|\.run\(|run_app\(|uvicorn\.run|app\.listen\(`)
	pythonPort   = regexp.MustCompile(`(?i)\bport["']?\s*[=:,]\s*["']?(\d{2,5})\b`)
)

// interpreted gives services that only an image would run the command that runs their sources: what the Dockerfile starts,
// if that is an interpreter, or the Python program in its folder. Python programs that nothing else names become services.
func interpreted(f *finding, dir string, files []string) {
	for _, name := range slices.Sorted(maps.Keys(f.services)) {
		s := f.services[name]
		if s.goDir != "" || s.command != "" || s.dockerfile == "" {
			continue
		}
		if command := started(text(dir, s.dockerfile)); command != "" {
			s.runs(command, path.Dir(s.dockerfile))
		}
	}
	for _, program := range pythonPrograms {
		for _, file := range files {
			if path.Base(file) == program {
				python(f, dir, file)
			}
		}
	}
}

// runs makes the service one whose command runs in its folder.
func (s *found) runs(command, folder string) {
	s.command, s.dockerfile, s.image, s.listens = command, "", "", true
	if folder != "." {
		s.dir = folder
	}
}

// started returns what a container of the Dockerfile starts, and "" where that is not an interpreter, or needs a shell.
func started(dockerfile string) string {
	var entry, command []string
	for _, m := range startLine.FindAllStringSubmatch(dockerfile, -1) {
		var words []string
		if json.Unmarshal([]byte(m[2]), &words) != nil {
			var err error
			if words, err = config.SplitWords(m[2]); err != nil || strings.ContainsAny(m[2], "|&;<>$`") {
				return ""
			}
		}
		if strings.EqualFold(m[1], "CMD") {
			command = words
		} else {
			entry = words
		}
	}
	words := slices.Concat(entry, command)
	if len(words) == 0 || !slices.Contains(interpreters, words[0]) {
		return ""
	}
	return config.JoinWords(words)
}

// python makes a program that serves the command of its folder's service, unless another is known.
func python(f *finding, dir, file string) {
	content, folder := text(dir, file), path.Dir(file)
	name := label(path.Base(folder))
	if folder == "." {
		name = label(filepath.Base(dir))
	}
	s := f.services[name]
	if s != nil && (s.goDir != "" || s.command != "") || !pythonServes.MatchString(content) {
		return
	}
	s = f.service(cmp.Or(name, "app"), file)
	s.runs("python3 "+path.Base(file), folder)
	if m := pythonPort.FindStringSubmatch(content); m != nil && len(s.ports) == 0 {
		if number, err := strconv.Atoi(m[1]); err == nil {
			s.port("", number)
		}
	}
}
