package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// writeLayout writes images as an OCI image layout in a tar: what `ctr images import` reads, and the one form in which
// containerd keeps the manifest, and so the digest, as it is.
func writeLayout(w io.Writer, images []*Image) error {
	t := tar.NewWriter(w)
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	written := map[v1.Hash]bool{}
	if err := writeEntry(t, "oci-layout", strings.NewReader(`{"imageLayoutVersion":"1.0.0"}`), -1); err != nil {
		return err
	}
	for _, i := range images {
		manifest, err := i.image.RawManifest()
		if err != nil {
			return err
		}
		digest, err := i.image.Digest()
		if err != nil {
			return err
		}
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: int64(len(manifest)),
			Annotations: map[string]string{"io.containerd.image.name": i.Name}})
		if err := writeBlobs(t, i.image, digest, manifest, written); err != nil {
			return fmt.Errorf("stream image %s: %w", i.Name, err)
		}
	}
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := writeEntry(t, "index.json", bytes.NewReader(data), int64(len(data))); err != nil {
		return err
	}
	return t.Close()
}

func writeBlobs(t *tar.Writer, image v1.Image, digest v1.Hash, manifest []byte, written map[v1.Hash]bool) error {
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := writeLayer(t, l, written); err != nil {
			return err
		}
	}
	configName, err := image.ConfigName()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	for _, b := range []struct {
		digest v1.Hash
		data   []byte
	}{{configName, config}, {digest, manifest}} {
		if written[b.digest] {
			continue
		}
		written[b.digest] = true
		if err := writeEntry(t, blobPath(b.digest), bytes.NewReader(b.data), int64(len(b.data))); err != nil {
			return err
		}
	}
	return nil
}

func writeLayer(t *tar.Writer, l v1.Layer, written map[v1.Hash]bool) error {
	digest, err := l.Digest()
	if err != nil || written[digest] {
		return err
	}
	written[digest] = true
	size, err := l.Size()
	if err != nil {
		return err
	}
	content, err := l.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return writeEntry(t, blobPath(digest), content, size)
}

func blobPath(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// writeEntry writes one file of the archive; size -1 asks a strings.Reader.
func writeEntry(t *tar.Writer, path string, r io.Reader, size int64) error {
	if s, ok := r.(*strings.Reader); ok && size < 0 {
		size = s.Size()
	}
	if err := t.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: epoch}); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}
