package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"
	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/internal/config"
)

func TestSchemaIsCurrent(t *testing.T) {
	want, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(config.Schema())); diff != "" {
		t.Errorf("devloop.schema.json is not what the types say: run make generate (-types +file):\n%s", diff)
	}
}

func validator(t *testing.T) *jsonschema.Resolved {
	t.Helper()
	var s jsonschema.Schema
	if err := json.Unmarshal(config.Schema(), &s); err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	return resolved
}

func instance(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestShopIsValid(t *testing.T) {
	shop, err := os.ReadFile("../../../examples/shop/devloop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := validator(t).Validate(instance(t, shop)); err != nil {
		t.Errorf("the shop's devloop.yaml against the schema: %v", err)
	}
}

func TestSchemaRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":      "version: 1\nservces: {}",
		"no version":       "services: {}",
		"other version":    "version: 2",
		"two kinds":        "version: 1\nservices: {a: {go: ./a, command: a}}",
		"no kind":          "version: 1\nservices: {a: {ports: {http: 80}}}",
		"bad name":         "version: 1\nservices: {A_b: {go: ./a}}",
		"no port":          "version: 1\nservices: {a: {go: ./a, ports: {http: 70000}}}",
		"bare duration":    "version: 1\nwindow: {quiet: 50}",
		"duration no unit": "version: 1\nwindow: {quiet: \"50\"}",
		"bare size":        "version: 1\nstorage: {ring: 5}",
		"environment":      "version: 1\nenvironment: {default: cloud}",
		"step with two":    "version: 1\nexercises: {e: {steps: [{run: a, wait: 1s}]}}",
	} {
		if err := validator(t).Validate(instance(t, []byte(text))); err == nil {
			t.Errorf("%s: the schema accepts %q", name, text)
		}
	}
}
