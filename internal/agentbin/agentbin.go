// Package agentbin has the programs that devloop puts into clusters, for Linux on amd64 and arm64: the nodes' agent and the
// containers' supervisor. `make build` embeds them (build tag embedagent, files in embedded/ that are not committed); any
// other build makes them when they are asked for, with the local Go toolchain, so that a clean clone builds with
// `go build` and never embeds a program that is old.
package agentbin

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

// The programs, which are commands of this module.
const (
	Agent      = "devloop-agent"
	Supervisor = "devloop-supervise"
)

const (
	module = "github.com/devloop-io/devloop"
	hint   = "run `make build`, which embeds it, install Go, or name an image with environment.cluster.agentImage"
)

// Binary is a program for a processor, amd64 or arm64.
func Binary(ctx context.Context, name, arch string) ([]byte, error) {
	if arch != "amd64" && arch != "arm64" {
		return nil, fmt.Errorf("find %s for linux/%s: there is one for amd64 and one for arm64", name, arch)
	}
	if packed := packed(name, arch); packed != nil {
		return unpack(packed)
	}
	b, err := build(ctx, name, arch)
	if err != nil {
		return nil, fmt.Errorf("build %s for linux/%s: %w; %s", name, arch, err, hint)
	}
	return b, nil
}

// Embedded says whether [Binary] needs no toolchain.
func Embedded() bool { return packed(Agent, "amd64") != nil }

func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack an embedded program: %w", err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpack an embedded program: %w", err)
	}
	return b, nil
}

// build makes a program from the source that this program was built from, or from the released module of its version.
func build(ctx context.Context, name, arch string) ([]byte, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, errors.New("there is no Go toolchain on the PATH")
	}
	dir, err := os.MkdirTemp("", "devloop-agent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, name)
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-ldflags", "-s -w", "-o", out, module+"/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if cmd.Dir = sources(); cmd.Dir == "" {
		if cmd.Dir, err = released(dir); err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "GOFLAGS=-mod=mod") // fills in go.sum
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, tail(text))
	}
	return os.ReadFile(out)
}

// sources is the folder of the module that this program was built from, when it is still there.
func sources() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) { // built with -trimpath
		return ""
	}
	dir := filepath.Dir(filepath.Dir(filepath.Dir(file)))
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil || !strings.HasPrefix(string(b), "module "+module+"\n") {
		return ""
	}
	return dir
}

// released makes a module that needs the released version which this program is of.
func released(dir string) (string, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != module || !strings.HasPrefix(info.Main.Version, "v") {
		return "", errors.New("the source that this program was built from is not there any more")
	}
	text := fmt.Sprintf("module devloop-agent-build\n\ngo 1.26\n\nrequire %s %s\n", module, info.Main.Version)
	return dir, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600)
}

func tail(b []byte) string {
	return strings.TrimSpace(string(b[max(len(b)-2000, 0):]))
}
