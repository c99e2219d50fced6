package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	kindexec "sigs.k8s.io/kind/pkg/exec"
)

// Engine is what answers for containers.
type Engine struct {
	Version string `json:"version"`
	OS      string `json:"os"`   // of its containers
	Arch    string `json:"arch"` // amd64, arm64
}

// FindEngine asks the container engine that the docker command speaks to, by DOCKER_HOST or by its own context.
func FindEngine(ctx context.Context) (Engine, error) {
	out, err := asked(ctx, engineBound, "version", "--format", "{{.Server.Version}} {{.Server.Os}} {{.Server.Arch}}")
	if err != nil {
		if known := engineError(err); known != nil {
			return Engine{}, known
		}
		return Engine{}, &Error{Reason: NoEngine, What: "ask the container engine: " + err.Error(), Hint: "docker version", Err: err}
	}
	var e Engine
	if _, err := fmt.Sscan(out, &e.Version, &e.OS, &e.Arch); err != nil {
		return Engine{}, fmt.Errorf("read the container engine's version from %q: %w", strings.TrimSpace(out), err)
	}
	return e, nil
}

// commandError is a command that failed, with what it said.
type commandError struct {
	args   []string
	output string
	err    error
}

func (e *commandError) Error() string {
	return fmt.Sprintf("docker %s: %s", e.args[0], lastLine(e.output+"\n"+e.err.Error()))
}

func (e *commandError) Unwrap() error { return e.err }

// docker runs one command of the engine's client, without a shell, and returns its standard output. kind drives the same
// command, so both mean the same engine.
func docker(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", &commandError{args, strings.TrimSpace(errOut.String()), err}
	}
	return out.String(), nil
}

// engineBound is how long an engine may take for an answer that costs it nothing.
const engineBound = 15 * time.Second

// asked is docker for a question that is answered at once, unless the engine hangs.
func asked(ctx context.Context, bound time.Duration, args ...string) (string, error) {
	bounded, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	out, err := docker(bounded, args...)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return "", &Error{Reason: NoEngine, What: fmt.Sprintf("the container engine did not answer within %s", bound), Hint: "restart it; `docker info` says whether it answers", Err: err}
	}
	return out, err
}

// kindOutput is what a failed command of kind printed.
func kindOutput(err error) string {
	if failed := kindexec.RunErrorForError(err); failed != nil {
		return strings.TrimSpace(string(failed.Output))
	}
	return ""
}

// clusterLabel and roleLabel are kind's labels of node containers.
const (
	clusterLabel = "io.x-k8s.kind.cluster"
	roleLabel    = "io.x-k8s.kind.role"
)

// container is a node as the engine sees it.
type container struct {
	ID, Name, Cluster, Role, Image, State string
}

// nodeContainers lists the node containers of one cluster, or of all when name is empty.
func nodeContainers(ctx context.Context, name string) ([]container, error) {
	label := clusterLabel
	if name != "" {
		label += "=" + name
	}
	format := strings.Join([]string{"{{.ID}}", "{{.Names}}", `{{.Label "` + clusterLabel + `"}}`, `{{.Label "` + roleLabel + `"}}`, "{{.Image}}", "{{.State}}"}, "\t")
	out, err := asked(ctx, engineBound, "ps", "-a", "--no-trunc", "--filter", "label="+label, "--format", format)
	if err != nil {
		if known := engineError(err); known != nil {
			return nil, known
		}
		return nil, fmt.Errorf("list node containers: %w", err)
	}
	var list []container
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(f) == 6 {
			list = append(list, container{f[0], f[1], f[2], f[3], f[4], f[5]})
		}
	}
	return list, nil
}

// network is the name of kind's network.
func network() string {
	if name := os.Getenv("KIND_EXPERIMENTAL_DOCKER_NETWORK"); name != "" {
		return name
	}
	return "kind"
}

func networkExists(ctx context.Context) bool {
	_, err := docker(ctx, "network", "inspect", network())
	return err == nil
}

// removeNetwork removes kind's network. The engine refuses while something is in it, and that is fine.
func removeNetwork(ctx context.Context) { _, _ = docker(ctx, "network", "rm", network()) }

// ensureImages pulls the images that are not here.
func ensureImages(ctx context.Context, images []string) error {
	for _, image := range images {
		if _, err := docker(ctx, "image", "inspect", "--format", "{{.Id}}", image); err == nil {
			continue
		} else if known := engineError(err); known != nil {
			return known
		}
		if _, err := docker(ctx, "pull", "--quiet", image); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return imageError(image, err)
		}
	}
	return nil
}
