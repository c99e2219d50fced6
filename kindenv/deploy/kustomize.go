package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// kustomizationFile is a folder's kustomization.yaml, by any of its names; empty where it has none.
func kustomizationFile(dir string) string {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if has(dir, name) {
			return filepath.Join(dir, name)
		}
	}
	return ""
}

// buildKustomization builds a folder as `kustomize build` does, without network, plugins and charts, and without files
// from outside of the folder.
func buildKustomization(root, dir string) ([]*unstructured.Unstructured, error) {
	l := &localOnly{root: root, seen: map[string]bool{}}
	if err := l.folder(dir); err != nil {
		return nil, err
	}
	o := krusty.MakeDefaultOptions()
	o.LoadRestrictions, o.PluginConfig = types.LoadRestrictionsRootOnly, types.DisabledPluginConfig()
	where := shown(root, kustomizationFile(dir))
	built, err := krusty.MakeKustomizer(o).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", where, strings.ReplaceAll(err.Error(), root+string(filepath.Separator), ""))
	}
	text, err := built.AsYaml()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	objects, err := parse(where+" (built)", text)
	for _, object := range objects {
		setSource(object, where)
	}
	return objects, err
}

// maxFolders bounds how many folders a kustomization may consist of.
const maxFolders = 500

// localOnly looks through a kustomization before it is built: its library would fetch what is not on this machine by git and
// HTTP.
type localOnly struct {
	root string
	seen map[string]bool
}

func (l *localOnly) folder(dir string) error {
	if l.seen[dir] {
		return nil
	}
	if l.seen[dir] = true; len(l.seen) > maxFolders {
		return fmt.Errorf("%s: the kustomization consists of more than %d folders", shown(l.root, dir), maxFolders)
	}
	file := kustomizationFile(dir)
	text, err := readBounded(file)
	if err != nil {
		return err
	}
	where := shown(l.root, file)
	var fields map[string]any
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return document{file: where, number: 1, line: 1, text: text}.syntax(err)
	}
	for _, key := range []string{"resources", "bases", "components", "crds", "configurations", "generators", "transformers", "validators", "patchesStrategicMerge"} {
		list, _ := fields[key].([]any)
		for _, entry := range list {
			if err := l.entry(dir, where, key, asText(entry)); err != nil {
				return err
			}
		}
	}
	return l.remote(where, fields)
}

// entry looks at a path of a kustomization; folders are looked through.
func (l *localOnly) entry(dir, where, key, entry string) error {
	if entry == "" || strings.Contains(entry, "\n") { // written right there
		return nil
	}
	path := filepath.Join(dir, entry)
	info, err := os.Stat(path)
	if err != nil || remote(entry) {
		if remote(entry) || err != nil && strings.Contains(entry, "?") {
			return fmt.Errorf("%s: %s: %s is not on this machine, and devloop fetches nothing for a kustomization\nhint: copy it into the workspace", where, key, entry)
		}
		return fmt.Errorf("%s: %s: %s does not exist", where, key, entry)
	}
	if rel, err := filepath.Rel(l.root, path); err != nil || !filepath.IsLocal(rel) {
		return fmt.Errorf("%s: %s: %s leads out of the workspace", where, key, entry)
	}
	switch {
	case info.IsDir() && kustomizationFile(path) == "":
		return fmt.Errorf("%s: %s: folder %s has no kustomization.yaml", where, key, entry)
	case info.IsDir():
		return l.folder(path)
	case slices.Contains([]string{"generators", "transformers", "validators"}, key):
		text, err := readBounded(path)
		if err != nil {
			return err
		}
		var fields map[string]any
		if yaml.Unmarshal(text, &fields) != nil {
			return nil // the library says it better
		}
		return l.remote(shown(l.root, path), fields)
	}
	return nil
}

// remote refuses addresses in the fields that name files: those of patches, generators and schemas.
func (l *localOnly) remote(where string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		for key, x := range v {
			name, isText := x.(string)
			if isText && slices.Contains([]string{"path", "env"}, key) && remote(name) {
				return fmt.Errorf("%s: %s: %s is not on this machine, and devloop fetches nothing for a kustomization\nhint: copy it into the workspace", where, key, name)
			}
			list, _ := x.([]any)
			if slices.Contains([]string{"files", "envs"}, key) {
				for _, f := range list {
					_, path, ok := strings.Cut(asText(f), "=")
					if !ok {
						path = asText(f)
					}
					if remote(path) {
						return fmt.Errorf("%s: %s: %s is not on this machine, and devloop fetches nothing for a kustomization\nhint: copy it into the workspace", where, key, path)
					}
				}
			}
			if err := l.remote(where, x); err != nil {
				return err
			}
		}
	case []any:
		for _, x := range v {
			if err := l.remote(where, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// remote says whether kustomize would take a path for an address.
func remote(path string) bool {
	for _, mark := range []string{"://", "git@", "git::", "?ref=", ".git/", "//"} {
		if strings.Contains(path, mark) {
			return true
		}
	}
	for _, prefix := range []string{"http:", "https:", "github.com", "gh:"} {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}
