// Command schemagen writes the JSON Schema of devloop.yaml from the types of internal/config and their comments. It is
// a program of its own, so that devloop does not link what only generating needs.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/devloop-io/devloop/internal/config"
)

func main() {
	schema, err := generate(".")
	if err == nil {
		err = os.WriteFile("devloop.schema.json", schema, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// generate reflects the schema; dir is the folder of internal/config, whose comments become descriptions.
func generate(dir string) ([]byte, error) {
	r := jsonschema.Reflector{Anonymous: true, FieldNameTag: "yaml", Mapper: quantities}
	if err := comments(&r, dir); err != nil {
		return nil, err
	}
	s := r.Reflect(&config.Config{})
	s.ID, s.Title = "https://devloop.dev/schema/devloop.json", "devloop.yaml"
	s.Definitions["Service"].OneOf = requireOne("go", "command", "dockerfile", "image")
	s.Definitions["Step"].OneOf = requireOne("http", "run", "wait")
	s.Definitions["Dependency"].AnyOf = requireOne("image", "local")
	version, _ := s.Definitions["Config"].Properties.Get("version")
	version.Const = 1
	s.Definitions["Config"].PatternProperties = map[string]*jsonschema.Schema{"^x-": jsonschema.TrueSchema}
	for _, name := range []string{"services", "dependencies"} {
		p, _ := s.Definitions["Config"].Properties.Get(name)
		p.PropertyNames = &jsonschema.Schema{Pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
	}
	for _, name := range []string{"Service", "Dependency"} {
		p, _ := s.Definitions[name].Properties.Get("ports")
		p.AdditionalProperties = &jsonschema.Schema{Type: "integer", Minimum: "1", Maximum: "65535"}
	}
	manifest := s.Definitions["Manifest"]
	manifest.OneOf = requireOne("path", "helm")
	s.Definitions["Chart"] = manifest
	s.Definitions["Manifest"] = &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Ref: "#/$defs/Chart"}}}
	environment, _ := s.Definitions["Environment"].Properties.Get("default")
	environment.Enum = []any{"local", "kind", "cluster"}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// comments reads the Go comments of the types. The library makes import paths of folder names, so it has to stand in
// the folder.
func comments(r *jsonschema.Reflector, dir string) error {
	old, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("read the comments of the types: %w", err)
	}
	defer os.Chdir(old) //nolint:errcheck // it was there a moment ago
	if err := r.AddGoComments("github.com/devloop-io/devloop/internal/config", "./"); err != nil {
		return fmt.Errorf("read the comments of the types: %w", err)
	}
	for key, text := range r.CommentMap {
		r.CommentMap[filepath.ToSlash(key)] = strings.Join(strings.Fields(text), " ")
	}
	return nil
}

func quantities(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[config.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`, Examples: []any{"50ms", "2m"}}
	case reflect.TypeFor[config.Size]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[0-9]+(\.[0-9]+)? ?([kKmMgGtT][iI]?)?[bB]$`, Examples: []any{"256MiB", "1GB"}}
	}
	return nil
}

func requireOne(keys ...string) []*jsonschema.Schema {
	var one []*jsonschema.Schema
	for _, k := range keys {
		one = append(one, &jsonschema.Schema{Required: []string{k}})
	}
	return one
}
