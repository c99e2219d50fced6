package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// DockerSpec says how to build a Dockerfile.
type DockerSpec struct {
	Name string // of the image
	Dir  string // build context
	File string // Dockerfile, relative to Dir; "Dockerfile" when empty
	Arch string // of the nodes
	Args map[string]string
}

// BuildDockerfile builds with the container engine and takes the result out of it. Close the image after loading it.
func BuildDockerfile(ctx context.Context, s DockerSpec) (*Image, error) {
	file := s.File
	if file == "" {
		file = "Dockerfile"
	}
	args := []string{"build", "--quiet", "--file", filepath.Join(s.Dir, file), "--tag", s.Name}
	own, err := docker(ctx, "ask the engine for its architecture", "version", "--format", "{{.Server.Arch}}")
	if err != nil {
		return nil, err
	}
	if s.Arch != "" && s.Arch != strings.TrimSpace(own) { // older engines do not know the flag
		args = append(args, "--platform", "linux/"+s.Arch)
	}
	for k, v := range s.Args {
		args = append(args, "--build-arg", k+"="+v)
	}
	if _, err := docker(ctx, "build "+file, append(args, s.Dir)...); err != nil {
		return nil, err
	}
	return FromEngine(ctx, s.Name)
}

// FromEngine takes an image out of the container engine. Close it after loading it.
func FromEngine(ctx context.Context, ref string) (*Image, error) {
	f, err := os.CreateTemp("", "devloop-image-*.tar")
	if err != nil {
		return nil, fmt.Errorf("save image %s: %w", ref, err)
	}
	drop := func() error { return os.Remove(f.Name()) }
	err = f.Close()
	if err == nil {
		_, err = docker(ctx, "save image "+ref, "image", "save", "--output", f.Name(), ref)
	}
	var i *Image
	if err == nil {
		i, err = fromArchive(f.Name(), ref)
	}
	if err != nil {
		return nil, errors.Join(err, drop())
	}
	i.cleanup = drop
	return i, nil
}

// FromArchive reads an archive as `docker save` writes it. It must hold one image; ref is its name where the archive has none or
// several.
func FromArchive(path, ref string) (*Image, error) {
	if ref != "" {
		return fromArchive(path, ref)
	}
	manifest, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the image archive %s: %w", path, err)
	case len(manifest) != 1 || len(manifest[0].RepoTags) == 0:
		return nil, fmt.Errorf("the image archive %s must hold one image with a name; it holds %d images", path, len(manifest))
	}
	return fromArchive(path, manifest[0].RepoTags[0])
}

func fromArchive(path, ref string) (*Image, error) {
	fail := func(err error) (*Image, error) { return nil, fmt.Errorf("read the image archive %s: %w", path, err) }
	// Tags choose among several images; an image saved by its id has none.
	var tag *name.Tag
	if t, err := name.NewTag(ref); err == nil && !strings.Contains(ref, "@") {
		tag = &t
	}
	saved, err := tarball.ImageFromPath(path, tag)
	if err != nil {
		return fail(err)
	}
	config, err := saved.ConfigFile()
	if err != nil {
		return fail(err)
	}
	layers, err := saved.Layers()
	if err != nil {
		return fail(err)
	}
	plain := make([]v1.Layer, len(layers))
	for n, l := range layers {
		if plain[n], err = measured(l.Uncompressed); err != nil {
			return fail(err)
		}
	}
	return assemble(ref, plain, config)
}

// docker runs the engine's client without a shell; doing says what for.
func docker(ctx context.Context, doing string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		err = errors.New("there is no docker command on the PATH: install Docker, or give the service go: or image:")
	}
	return "", &BuildError{What: doing, Output: strings.TrimSpace(errOut.String()), Err: err}
}
