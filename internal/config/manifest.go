package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Manifest is an item of manifests: a path, or a mapping where a Helm chart needs more than its path.
type Manifest struct {
	// Path is a file, a folder of files, a folder with a kustomization.yaml or one with a Chart.yaml, relative to the workspace.
	Path string `yaml:"path,omitempty" json:"path,omitempty"`
	// Helm is the folder or archive of a chart, relative to the workspace.
	Helm string `yaml:"helm,omitempty" json:"helm,omitempty"`
	// Values are files of values for the chart; later ones win.
	Values []string `yaml:"values,omitempty" json:"values,omitempty"`
	// Set has single values for the chart by their path, as helm's --set-json takes them: {image.tag: "1", replicas: 2}.
	Set map[string]any `yaml:"set,omitempty" json:"set,omitempty"`
	// Release is the name of the chart's release; the chart's own name by default.
	Release string `yaml:"release,omitempty" json:"release,omitempty"`
}

// plainManifest has no methods, so that it can be used in those of Manifest.
type plainManifest Manifest

// MarshalJSON writes a bare path as text.
func (m Manifest) MarshalJSON() ([]byte, error) {
	if m.Helm == "" {
		return json.Marshal(m.Path)
	}
	return json.Marshal(plainManifest(m))
}

// UnmarshalJSON reads a path or a mapping.
func (m *Manifest) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*m = Manifest{}
		return json.Unmarshal(text, &m.Path)
	}
	return json.Unmarshal(text, (*plainManifest)(m))
}

// Manifests are what is deployed in an environment: kind or cluster.
func (e Environment) Manifests(where string) []Manifest {
	if where == "cluster" {
		return e.Cluster.Manifests
	}
	return e.Kind.Manifests
}

func (d *document) manifests(at string, list []Manifest) {
	for i, m := range list {
		at := fmt.Sprintf("%s.manifests[%d]", at, i)
		if m.Path == "" && m.Helm == "" || m.Path != "" && m.Helm != "" {
			d.at(at, "write a path, or {helm: PATH, values: [FILE], set: {NAME: VALUE}, release: NAME}", "%s must be either a path or a chart", at)
			continue
		}
		if m.Path != "" && (len(m.Values) > 0 || len(m.Set) > 0 || m.Release != "") {
			d.at(at, "write helm: instead of path:", "%s: values, set and release are for charts", at)
		}
		d.inside(at, m.Path)
		d.inside(at+".helm", m.Helm)
		for j, v := range m.Values {
			d.inside(fmt.Sprintf("%s.values[%d]", at, j), v)
		}
		if m.Release != "" && (!dnsLabel.MatchString(m.Release) || len(m.Release) > 53) {
			d.at(at+".release", "at most 53 lower-case letters, digits and hyphens", "%q cannot be a release's name", m.Release)
		}
		for _, name := range slices.Sorted(maps.Keys(m.Set)) {
			if name == "" {
				d.at(at+".set", "", "%s.set has a value without a name", at)
			}
		}
	}
}
