package mcp

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/devloop-io/devloop/traffic"
)

// schemaTypes are types whose JSON is not what reflection would guess.
var schemaTypes = map[reflect.Type]*jsonschema.Schema{
	reflect.TypeFor[[]byte]():            {Type: "string", ContentEncoding: "base64"},
	reflect.TypeFor[json.RawMessage]():   {},
	reflect.TypeFor[traffic.TraceNode](): {Type: "object"}, // it holds itself
}

// inputSchema describes a tool's arguments. An argument that there is not is refused: a model that guesses a name shall
// hear of it.
func inputSchema[T any]() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: schemaTypes})
	if err == nil {
		short(s)
	}
	return s, err
}

// short leaves out that a list may be null: it costs tokens and helps nobody.
func short(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if len(s.Types) == 2 && s.Types[0] == "null" {
		s.Type, s.Types = s.Types[1], nil
	}
	short(s.Items)
	for _, p := range s.Properties {
		short(p)
	}
}

// outputDepth is how many storeys of an answer are described: its fields. What lies deeper explains itself in the answer and
// is described in the OpenAPI document; schemas are read by models before each task.
const outputDepth = 1

// outputSchema describes a tool's answer.
func outputSchema[T any]() (*jsonschema.Schema, error) {
	s, err := jsonschema.For[T](&jsonschema.ForOptions{TypeSchemas: schemaTypes})
	if err == nil {
		prune(s, outputDepth)
	}
	return s, err
}

// prune cuts what lies deeper, and lets answers have more fields than are described.
func prune(s *jsonschema.Schema, depth int) {
	if s == nil {
		return
	}
	if depth == 0 {
		s.Properties, s.PropertyOrder, s.Required, s.AdditionalProperties, s.Items = nil, nil, nil, nil, nil
		return
	}
	if len(s.Properties) > 0 {
		s.AdditionalProperties = nil
	}
	for name, p := range s.Properties {
		if len(p.Types) != 2 || p.Types[0] != "null" {
			continue
		}
		// Some clients know one type only. What may be left out never is null; for the rest any type does.
		if !slices.Contains(s.Required, name) {
			p.Type = p.Types[1]
		}
		p.Types = nil
	}
	if depth < outputDepth {
		s.Required = nil
	}
	prune(s.Items, depth-1)
	prune(s.AdditionalProperties, depth-1)
	for _, p := range s.Properties {
		prune(p, depth-1)
	}
}
