// Package agentbin has the program of the node's agent, devloop-agent, for Linux on amd64 and arm64. `make build` embeds
// both (build tag embedagent, files in embedded/ that are not committed); any other build makes them when they are asked
// for, with the local Go toolchain, so that a clean clone builds with `go build` and never embeds an agent that is old.
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

const (
	module  = "github.com/devloop-io/devloop"
	command = module + "/cmd/devloop-agent"
	hint    = "run `make build`, which embeds it, install Go, or name an image with environment.cluster.agentImage"
)

// Binary is the agent's program for a processor, amd64 or arm64.
func Binary(ctx context.Context, arch string) ([]byte, error) {
	if arch != "amd64" && arch != "arm64" {
		return nil, fmt.Errorf("find the agent for linux/%s: there is one for amd64 and one for arm64", arch)
	}
	if packed := embedded[arch]; packed != nil {
		return unpack(packed)
	}
	b, err := build(ctx, arch)
	if err != nil {
		return nil, fmt.Errorf("build the agent for linux/%s: %w; %s", arch, err, hint)
	}
	return b, nil
}

// Embedded says whether [Binary] needs no toolchain.
func Embedded() bool { return len(embedded) > 0 }

func unpack(packed []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack the agent: %w", err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		return nil, fmt.Errorf("unpack the agent: %w", err)
	}
	return b, nil
}

// build makes the agent from the source that this program was built from, or from the released module of its version.
func build(ctx context.Context, arch string) ([]byte, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return nil, errors.New("there is no Go toolchain on the PATH")
	}
	dir, err := os.MkdirTemp("", "devloop-agent-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "devloop-agent")
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-ldflags", "-s -w", "-o", out, command)
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
