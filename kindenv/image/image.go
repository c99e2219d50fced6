package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image with the name that pods ask for.
type Image struct {
	Name   string   // as containerd writes it: docker.io/library/payment:r7
	Digest string   // of its manifest
	Notes  []string // what it lacks that might be missed

	image   v1.Image
	cleanup func() error
}

// Close gives back what the image holds on disk. The image cannot be loaded any more.
func (i *Image) Close() error {
	if i.cleanup == nil {
		return nil
	}
	return i.cleanup()
}

// File is one file of an image. Exactly one of From and Data is its content; with neither it is a folder.
type File struct {
	Path string      // in the image, absolute
	From string      // file of this machine
	Data []byte      // content
	Mode os.FileMode // 0644 by default, 0755 for folders
}

// Spec says what an image on an empty base holds.
type Spec struct {
	Name       string // "payment:r7"
	Arch       string // of the nodes: amd64, arm64
	Files      []File
	User       string // "65532:65532"; root when empty
	Env        []string
	Entrypoint []string
	Cmd        []string
	WorkingDir string
	Labels     map[string]string
}

// Assemble makes an image of files on an empty base. Files are read once now and once for every node that they are loaded into;
// they are not kept in memory.
func Assemble(s Spec) (*Image, error) {
	if s.Arch == "" {
		return nil, fmt.Errorf("assemble image %s: no architecture is given", s.Name)
	}
	layer, err := newLayer(s.Files)
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", s.Name, err)
	}
	return assemble(s.Name, []v1.Layer{layer}, &v1.ConfigFile{
		Architecture: s.Arch, OS: "linux",
		Config: v1.Config{User: s.User, Env: s.Env, Entrypoint: s.Entrypoint, Cmd: s.Cmd, WorkingDir: s.WorkingDir, Labels: s.Labels},
	})
}

// assemble puts layers under a configuration; its list of layers and history are written anew.
func assemble(ref string, layers []v1.Layer, config *v1.ConfigFile) (*Image, error) {
	full, err := FullName(ref)
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.RootFS, config.History, config.Created = v1.RootFS{Type: "layers"}, nil, v1.Time{Time: epoch}
	image, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), config)
	if err == nil {
		image, err = mutate.AppendLayers(image, layers...)
	}
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", ref, err)
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, fmt.Errorf("assemble image %s: %w", ref, err)
	}
	return &Image{Name: full, Digest: digest.String(), image: image}, nil
}

// epoch is the time of everything in an image.
var epoch = time.Unix(0, 0).UTC()

// FullName is an image's name as containerd writes it, with registry and tag: "payment" is docker.io/library/payment:latest.
func FullName(ref string) (string, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("%q is no image name: %w", ref, err)
	}
	if rest, ok := strings.CutPrefix(parsed.Name(), name.DefaultRegistry+"/"); ok {
		return "docker.io/" + rest, nil
	}
	return parsed.Name(), nil
}

// layer is an uncompressed layer whose bytes can be had again and again.
type layer struct {
	digest v1.Hash
	size   int64
	open   func() (io.ReadCloser, error)
}

var _ v1.Layer = (*layer)(nil)

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.open() }

// measured is a layer of the bytes that open gives.
func measured(open func() (io.ReadCloser, error)) (*layer, error) {
	r, err := open()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	size, err := io.Copy(h, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	return &layer{v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}, size, open}, nil
}

// newLayer is a layer of files, sorted by path, with the folders that they need.
func newLayer(files []File) (*layer, error) {
	sorted, err := withFolders(files)
	if err != nil {
		return nil, err
	}
	return measured(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeTar(w, sorted)) }() // ends when the reader is read out or closed
		return r, nil
	})
}

func withFolders(files []File) ([]File, error) {
	all := map[string]File{}
	for _, f := range files {
		clean := path.Clean(f.Path)
		switch {
		case !path.IsAbs(f.Path) || clean == "/":
			return nil, fmt.Errorf("file %q: the path in an image must be absolute", f.Path)
		case f.From != "" && f.Data != nil:
			return nil, fmt.Errorf("file %s has two contents", clean)
		}
		if _, twice := all[clean]; twice {
			return nil, fmt.Errorf("file %s is there twice", clean)
		}
		f.Path = clean
		all[clean] = f
	}
	for _, f := range files {
		for dir := path.Dir(path.Clean(f.Path)); dir != "/"; dir = path.Dir(dir) {
			if above, ok := all[dir]; ok && above.isFile() {
				return nil, fmt.Errorf("%s is a file and a folder", dir)
			} else if !ok {
				all[dir] = File{Path: dir}
			}
		}
	}
	var sorted []File
	for _, p := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, all[p])
	}
	return sorted, nil
}

func (f File) isFile() bool { return f.From != "" || f.Data != nil }

func writeTar(w io.Writer, files []File) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := writeFile(t, f); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	return t.Close()
}

func writeFile(t *tar.Writer, f File) error {
	h := &tar.Header{Name: strings.TrimPrefix(f.Path, "/"), ModTime: epoch, Format: tar.FormatPAX, Mode: tarMode(f.Mode)}
	if !f.isFile() {
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		if f.Mode == 0 {
			h.Mode = 0o755
		}
		return t.WriteHeader(h)
	}
	h.Typeflag = tar.TypeReg
	if f.Mode == 0 {
		h.Mode = 0o644
	}
	content, size, err := f.content()
	if err != nil {
		return err
	}
	defer content.Close()
	h.Size = size
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if n, err := io.Copy(t, content); err != nil {
		return err
	} else if n != size {
		return fmt.Errorf("it changed while it was read: %d bytes instead of %d", n, size)
	}
	return nil
}

func (f File) content() (io.ReadCloser, int64, error) {
	if f.From == "" {
		return io.NopCloser(bytes.NewReader(f.Data)), int64(len(f.Data)), nil
	}
	file, err := os.Open(f.From)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.From)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// tarMode has the sticky and set-id bits where tar has them.
func tarMode(m os.FileMode) int64 {
	mode := int64(m.Perm())
	for bit, value := range map[os.FileMode]int64{os.ModeSticky: 0o1000, os.ModeSetgid: 0o2000, os.ModeSetuid: 0o4000} {
		if m&bit != 0 {
			mode |= value
		}
	}
	return mode
}
