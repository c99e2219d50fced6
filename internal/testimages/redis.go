package testimages

import (
	"context"
	"errors"
	"os/exec"
	"strings"

	"github.com/devloop-io/devloop/kindenv/image"
)

// Redis makes an image of this machine's Redis. As in the official image it serves port 6379 to everybody, keeps its data in
// /data, and arguments go to the server.
func Redis(ctx context.Context, name, arch string) (*image.Image, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("this machine has no Redis: apt-get install redis-server")
	}
	files := collection{}
	if err := files.program(ctx, path); err != nil {
		return nil, err
	}
	files["data"] = image.File{Path: "/data", Mode: 0o777}
	version, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return nil, err
	}
	return assemble(image.Spec{
		Name: name, Arch: arch, Entrypoint: []string{path, "--protected-mode", "no", "--dir", "/data"}, WorkingDir: "/data",
	}, strings.TrimSpace(string(version)), files)
}
