package deploy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/internal/config"
)

// Bounds of what is read.
const (
	maxManifest = 16 << 20 // bytes of a file
	maxObjects  = 5000     // of a workspace
)

// readManifests reads what manifests: lists, in its order, with sentences about what is not deployed of it.
func readManifests(dir, namespace string, list []config.Manifest) (all []*unstructured.Unstructured, notes []string, err error) {
	for _, m := range list {
		objects, said, err := readManifest(dir, namespace, m)
		if err != nil {
			return nil, nil, err
		}
		all, notes = append(all, objects...), append(notes, said...)
		if len(all) > maxObjects {
			return nil, nil, fmt.Errorf("manifests: more than %d objects", maxObjects)
		}
	}
	if err := twice(all); err != nil {
		return nil, nil, err
	}
	return all, notes, nil
}

// readManifest finds out what an item is by what lies in its folder.
func readManifest(dir, namespace string, m config.Manifest) ([]*unstructured.Unstructured, []string, error) {
	name := m.Path
	if m.Helm != "" {
		name = m.Helm
	}
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("manifests: %s does not exist", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("manifests: %w", err)
	}
	switch {
	case m.Helm != "" || info.IsDir() && has(path, "Chart.yaml"):
		return renderChart(dir, path, namespace, m)
	case info.IsDir() && kustomizationFile(path) != "":
		objects, err := buildKustomization(dir, path)
		return objects, nil, err
	case info.IsDir():
		objects, err := readFolder(dir, path)
		return objects, nil, err
	}
	objects, err := readFile(dir, path)
	return objects, nil, err
}

func has(dir, name string) bool {
	info, err := os.Stat(filepath.Join(dir, name))
	return err == nil && info.Mode().IsRegular()
}

func readFolder(root, dir string) ([]*unstructured.Unstructured, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	var all []*unstructured.Unstructured
	for _, e := range entries {
		if e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(filepath.Ext(e.Name()))) {
			continue
		}
		objects, err := readFile(root, filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

func readFile(root, path string) ([]*unstructured.Unstructured, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	return parse(shown(root, path), text)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("manifests: %s is larger than %d MiB", path, maxManifest>>20)
	}
	return b, nil
}

// shown is a path relative to the workspace.
func shown(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return path
}

// twice refuses two objects of one name: the second would silently replace the first.
func twice(objects []*unstructured.Unstructured) error {
	seen := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		key := o.GroupVersionKind().GroupKind().String() + "/" + o.GetNamespace() + "/" + o.GetName()
		if first := seen[key]; first != nil {
			return fmt.Errorf("%s: %s is defined twice, first in %s", sourceOf(o), Ref(o), sourceOf(first))
		}
		seen[key] = o
	}
	return nil
}
