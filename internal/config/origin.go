package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Origin says what a setting is and where that comes from.
type Origin struct {
	Path  string `json:"path"`  // "services.payment.ports.http"
	Value string `json:"value"` // as text
	From  string `json:"from"`  // "devloop.yaml:7", or "default"
}

// Origins lists the settings of a devloop.yaml in the order of the file, then the defaults of what it leaves out.
func Origins(where string) ([]Origin, error) {
	c, err := Load(where)
	if err != nil {
		return nil, err
	}
	data, err := readBounded(c.Path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var again Config
	d := parseDocument(shown(c.Path), data, &again)
	var paths []string
	for path, n := range d.nodes {
		if n.Kind == yaml.ScalarNode {
			paths = append(paths, path)
		}
	}
	slices.SortFunc(paths, func(a, b string) int {
		x, y := d.nodes[a], d.nodes[b]
		if x.Line != y.Line {
			return x.Line - y.Line
		}
		if x.Column != y.Column {
			return x.Column - y.Column
		}
		return strings.Compare(a, b)
	})
	var origins []Origin
	for _, path := range paths {
		origins = append(origins, Origin{path, d.nodes[path].Value, fmt.Sprintf("%s:%d", d.file, d.nodes[path].Line)})
	}
	for _, o := range c.defaults() {
		if d.nodes[o.Path] == nil {
			origins = append(origins, o)
		}
	}
	return origins, nil
}

func (c *Config) defaults() []Origin {
	return []Origin{
		{"window.quiet", c.Window.DefaultQuiet().String(), "default"},
		{"window.drain", c.Window.DefaultDrain().String(), "default"},
		{"storage.ring", c.Storage.DefaultRing().String(), "default"},
		{"storage.snapshots", c.Storage.DefaultSnapshots().String(), "default"},
		{"storage.max_age", c.Storage.DefaultMaxAge().String(), "default"},
	}
}

// Mistake is a mistake that only shows while the configuration is used, told with the place of a setting.
func (c *Config) Mistake(path, hint, what string) error {
	d := &document{file: shown(c.Path)}
	if data, err := readBounded(c.Path); err == nil {
		var again Config
		d = parseDocument(shown(c.Path), data, &again)
		d.errs = nil
	}
	d.at(path, hint, "%s: %s", path, what)
	return d.errs
}
