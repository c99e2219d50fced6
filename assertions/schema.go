package assertions

import (
	"encoding/json"
	"fmt"

	"github.com/google/jsonschema-go/jsonschema"
)

// Schema is the JSON Schema of check files, generated from [File].
func Schema() ([]byte, error) {
	s, err := jsonschema.For[File](nil)
	if err != nil {
		return nil, fmt.Errorf("infer the schema of check files: %w", err)
	}
	s.Schema, s.ID, s.Title = "https://json-schema.org/draft/2020-12/schema", "https://devloop.dev/schema/netcheck.json", "devloop checks"
	list := s.Properties["checks"]
	list.Type, list.Types = "array", nil
	check := list.Items
	for name, values := range map[string][]any{
		"severity": {SeverityError, SeverityWarning}, "on_nodata": {OnFail, OnWarn},
	} {
		check.Properties[name].Enum = values
	}
	check.Properties["on_inconclusive"].Pattern = rerunPattern
	check.Properties["confidence"].ExclusiveMinimum = jsonschema.Ptr(0.5)
	check.Properties["confidence"].ExclusiveMaximum = jsonschema.Ptr(1.0)
	for _, name := range []string{"name", "on", "expect"} {
		check.Properties[name].MinLength = jsonschema.Ptr(1)
	}
	builtin := s.Properties["builtin"]
	builtin.Type, builtin.Types = "object", nil
	builtin.PropertyNames = &jsonschema.Schema{Enum: ruleNames()}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema of check files: %w", err)
	}
	return append(data, '\n'), nil
}

// ruleNames are the names of the built-in checks, with and without their prefix.
func ruleNames() []any {
	var all []any
	for _, b := range builtins() {
		all = append(all, b.name[len("builtin/"):], b.name)
	}
	return all
}
