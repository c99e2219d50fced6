package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devloop-io/devloop/internal/config"
)

// renderChart renders a chart as `helm template` does: its CRDs, then its templates. Hooks are not run, and said. Helm's
// functions that look into a cluster or resolve names find nothing.
func renderChart(root, path, namespace string, m config.Manifest) ([]*unstructured.Unstructured, []string, error) {
	where := shown(root, path)
	c, err := loader.Load(path)
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", where, err)
	}
	if err := complete(c, where); err != nil {
		return nil, nil, err
	}
	values, err := chartValues(root, m)
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", where, err)
	}
	if err := chartutil.ProcessDependenciesWithMerge(c, values); err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", where, err)
	}
	name := m.Release
	if name == "" {
		name = c.Name()
	}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: name, Namespace: namespace, Revision: 1, IsInstall: true}, chartutil.DefaultCapabilities.Copy())
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", where, err)
	}
	files, err := engine.Engine{}.Render(c, all)
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: %w", where, err)
	}
	return rendered(where, c, files)
}

// complete says which charts that this one depends on are not in its folder.
func complete(c *chart.Chart, where string) error {
	if c.Metadata.Type == "library" {
		return fmt.Errorf("chart %s: a library chart has nothing to deploy", where)
	}
	for _, d := range c.Metadata.Dependencies {
		if !slices.ContainsFunc(c.Dependencies(), func(have *chart.Chart) bool { return have.Name() == d.Name }) {
			return fmt.Errorf("chart %s: its dependency %s is not in its charts/ folder\nhint: helm dependency update %s", where, d.Name, where)
		}
	}
	return nil
}

// chartValues are the files' values, later ones over earlier, and those of set over all.
func chartValues(root string, m config.Manifest) (map[string]any, error) {
	values := map[string]any{}
	for _, name := range m.Values {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, fmt.Errorf("values: %w", err)
		}
		more, err := chartutil.ReadValues(text)
		if err != nil {
			return nil, fmt.Errorf("values: %w", document{file: name, number: 1, line: 1, text: text}.syntax(err))
		}
		values = chartutil.MergeTables(more, values)
	}
	for _, key := range slices.Sorted(maps.Keys(m.Set)) {
		value, err := json.Marshal(m.Set[key])
		if err == nil {
			err = strvals.ParseJSON(key+"="+string(value), values)
		}
		if err != nil {
			return nil, fmt.Errorf("set: %s: %w", key, err)
		}
	}
	return values, nil
}

// rendered makes objects of a chart's files.
func rendered(where string, c *chart.Chart, files map[string]string) (all []*unstructured.Unstructured, notes []string, err error) {
	for _, crd := range c.CRDObjects() {
		objects, err := parse(where+"/"+strings.TrimPrefix(crd.Filename, c.Name()+"/"), crd.File.Data)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, objects...)
	}
	for name := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			delete(files, name)
		}
	}
	hooks, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, nil, fmt.Errorf("chart %s: rendered: %w", where, err)
	}
	for _, m := range manifests {
		file := where + "/" + strings.TrimPrefix(m.Name, c.Name()+"/")
		objects, err := parse(file+" (rendered)", []byte(m.Content))
		if err != nil {
			return nil, nil, err
		}
		for _, o := range objects { // lines of what was rendered are nobody's
			setSource(o, file)
		}
		all = append(all, objects...)
	}
	return all, hookNotes(where, hooks), nil
}

// hookNotes says which hooks do not run. Tests are for `helm test` alone.
func hookNotes(where string, hooks []*release.Hook) []string {
	var names []string
	for _, h := range hooks {
		var events []string
		for _, e := range h.Events {
			if e != release.HookTest {
				events = append(events, string(e))
			}
		}
		if len(events) > 0 {
			names = append(names, fmt.Sprintf("%s/%s (%s)", strings.ToLower(h.Kind), h.Name, strings.Join(events, ", ")))
		}
	}
	if len(names) == 0 {
		return nil
	}
	sort.Strings(names)
	return []string{fmt.Sprintf("chart %s: its hooks are not run: %s", where, strings.Join(names, "; "))}
}
