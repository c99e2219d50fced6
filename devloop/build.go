package devloop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/devloop-io/devloop/internal/config"
)

// build is one built service: what a revision maps its name to.
type build struct {
	ID   string   // short hash of the program, its arguments and its environment
	Argv []string // the program first; empty where the service is an image
	Env  map[string]string
	// Image that runs the service, in a cluster.
	Image string
}

// buildError is a failed build with what the compiler said.
type buildError struct {
	services []string
	output   string
	err      error
}

func (e *buildError) Error() string {
	return fmt.Sprintf("build %s: %v", strings.Join(e.services, ", "), e.err)
}
func (e *buildError) Unwrap() error { return e.err }

// builder turns sources into programs. It keeps what each service was built into, by content, so that a build which
// changes nothing restarts nothing.
type builder struct {
	cfg      *config.Config
	dir      string            // .devloop/build
	compiled map[string]string // Go services whose sources are as when their program was compiled
	env      environment       // where the services run
}

// build builds the named services: Go services in one run of the compiler where their names allow it.
func (b *builder) build(ctx context.Context, names []string) (map[string]build, error) {
	built := map[string]build{}
	var goServices []string
	for _, name := range names {
		program, known := b.compiled[name]
		if known {
			var err error
			if built[name], err = b.finish(name, program); err != nil {
				return nil, err
			}
		} else if b.cfg.Services[name].Go != "" {
			goServices = append(goServices, name)
		}
	}
	for _, group := range b.groups(goServices) {
		programs, err := b.compile(ctx, group)
		if err != nil {
			return nil, err
		}
		for name, program := range programs {
			if built[name], err = b.finish(name, program); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range names {
		if _, ok := built[name]; ok {
			continue
		}
		one, err := b.command(ctx, name)
		if err != nil {
			return nil, err
		}
		built[name] = one
	}
	return built, nil
}

// groups splits Go services so that no two packages of a group have the same last element: the compiler names
// programs by it.
func (b *builder) groups(names []string) [][]string {
	var groups [][]string
	var taken []map[string]bool
next:
	for _, name := range names {
		base := filepath.Base(b.mainPackage(name))
		for i := range groups {
			if base != "." && !taken[i]["."] && !taken[i][base] {
				groups[i], taken[i][base] = append(groups[i], name), true
				continue next
			}
		}
		groups, taken = append(groups, []string{name}), append(taken, map[string]bool{base: true})
	}
	return groups
}

func (b *builder) mainPackage(service string) string {
	return filepath.ToSlash(filepath.Clean(b.cfg.Services[service].Go))
}

// compile runs the Go toolchain once. Debug information is left out: it is half of the link time, and nobody attaches
// a debugger to a program that is replaced at the next save.
func (b *builder) compile(ctx context.Context, names []string) (map[string]string, error) {
	// Programs lie where the user that a service runs as can reach them; they are no secret.
	err := os.MkdirAll(b.dir, 0o755)
	if err != nil {
		return nil, fmt.Errorf("make a folder for programs: %w", err)
	}
	out, err := os.MkdirTemp(b.dir, "go-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for programs: %w", err)
	}
	defer os.RemoveAll(out)
	to := out + string(filepath.Separator)
	if len(names) == 1 { // a package of the module's own folder is named by the module, which may be called anything
		to = filepath.Join(out, filepath.Base(b.mainPackage(names[0])))
		if b.mainPackage(names[0]) == "." {
			to = filepath.Join(out, names[0])
		}
	}
	args := []string{"build", "-buildvcs=false", "-ldflags=-s -w", "-o", to}
	for _, name := range names {
		args = append(args, "./"+strings.TrimPrefix(b.mainPackage(name), "./"))
	}
	var target map[string]string
	if p := b.env.Platform(); p.os != "" {
		target = map[string]string{"GOOS": p.os, "GOARCH": p.arch, "CGO_ENABLED": "0"} // images have no C library
	}
	if output, err := b.run(ctx, b.cfg.Dir, target, "go", args...); err != nil {
		return nil, &buildError{names, output, err}
	}
	programs := map[string]string{}
	for _, name := range names {
		base := filepath.Base(b.mainPackage(name))
		if base == "." {
			base = name
		}
		if programs[name], err = b.keep(name, filepath.Join(out, base)); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// keep moves a program into a folder that tells its content, so that the running one is never overwritten. The program
// itself bears the service's name: it is what the process is called.
func (b *builder) keep(service, program string) (string, error) {
	sum, err := fileHash(program)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, service)
	if err := os.MkdirAll(filepath.Join(dir, sum), 0o755); err != nil {
		return "", fmt.Errorf("make a folder for the program of %s: %w", service, err)
	}
	kept := filepath.Join(dir, sum, service)
	if err := os.Rename(program, kept); err != nil {
		return "", fmt.Errorf("keep the program of %s: %w", service, err)
	}
	b.forgetOld(dir, sum)
	return kept, nil
}

// forgetOld removes all but the newest few programs of a service.
func (b *builder) forgetOld(dir, newest string) {
	const keep = 3
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keep {
		return
	}
	slices.SortFunc(entries, func(a, c os.DirEntry) int { return modTime(a).Compare(modTime(c)) })
	for _, e := range entries[:len(entries)-keep] {
		if e.Name() != newest {
			_ = os.RemoveAll(filepath.Join(dir, e.Name())) // a leftover costs disk only
		}
	}
}

// command prepares a service that is no Go program: its build command runs, its program is looked up.
func (b *builder) command(ctx context.Context, name string) (build, error) {
	s := b.cfg.Services[name]
	if s.Command == "" {
		ref, err := b.env.Image(ctx, name)
		if err != nil {
			return build{}, &buildError{[]string{name}, "", err}
		}
		one, err := b.finish(name, ref)
		one.Argv, one.Image = nil, ref
		return one, err
	}
	dir := filepath.Join(b.cfg.Dir, s.Dir)
	if s.Build != "" {
		words, err := config.SplitWords(s.Build)
		if err != nil || len(words) == 0 {
			return build{}, &buildError{[]string{name}, "", fmt.Errorf("split the build command %q: %w", s.Build, err)}
		}
		if output, err := b.run(ctx, dir, s.Env, words[0], words[1:]...); err != nil {
			return build{}, &buildError{[]string{name}, output, err}
		}
	}
	words, err := config.SplitWords(s.Command)
	if err != nil || len(words) == 0 {
		return build{}, &buildError{[]string{name}, "", fmt.Errorf("split the command %q: %w", s.Command, err)}
	}
	return b.finish(name, words[0], words[1:]...)
}

// finish names the build by all that makes the process what it is.
func (b *builder) finish(name, program string, args ...string) (build, error) {
	s := b.cfg.Services[name]
	env, err := b.environment(name)
	if err != nil {
		return build{}, err
	}
	hash := sha256.New()
	argv := append(append([]string{program}, args...), s.Args...)
	fmt.Fprintf(hash, "%q", argv)
	for _, k := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(hash, "%q=%q", k, env[k])
	}
	if s.Go == "" {
		if err := hashWatched(hash, b.cfg.Dir, s.Watch); err != nil {
			return build{}, err
		}
	}
	return build{ID: hex.EncodeToString(hash.Sum(nil)[:4]), Argv: argv, Env: env}, nil
}

// environment is a service's env_file with its env on top, ${NAME}s replaced.
func (b *builder) environment(name string) (map[string]string, error) {
	s := b.cfg.Services[name]
	env := map[string]string{}
	if s.EnvFile != "" {
		fromFile, err := config.ReadEnvFile(filepath.Join(b.cfg.Dir, s.EnvFile))
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", name, err)
		}
		maps.Copy(env, fromFile)
	}
	for k, v := range s.Env {
		expanded, err := config.Expand(v, os.LookupEnv)
		if err != nil {
			return nil, fmt.Errorf("service %s: env %s: %w", name, k, err)
		}
		env[k] = expanded
	}
	return env, nil
}

// buildGrace is how long an interrupted build tool may take to remove its temporary files.
const buildGrace = 2 * time.Second

// run runs a build tool and returns what it printed.
func (b *builder) run(ctx context.Context, dir string, env map[string]string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = os.Environ()
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.WaitDelay = buildGrace
	kill := wholeGroup(cmd)
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		kill()
	}
	return string(output), err
}

// modTime is zero for a file that went away.
func modTime(e os.DirEntry) (t time.Time) {
	if info, err := e.Info(); err == nil {
		t = info.ModTime()
	}
	return t
}

func fileHash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash the program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash the program %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)[:6]), nil
}
