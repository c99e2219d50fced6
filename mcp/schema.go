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
		withoutRaw(s)
	}
	return s, err
}

// withoutRaw takes away the argument that leaves secrets as they were sent: that is for people, who ask for it by a flag.
func withoutRaw(s *jsonschema.Schema) {
	delete(s.Properties, "raw")
	s.PropertyOrder = slices.DeleteFunc(s.PropertyOrder, func(name string) bool { return name == "raw" })
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
		// Some clients know one type only. What may be left out never is null, nor are lists and maps: see whole.
		if len(p.Types) == 2 && p.Types[0] == "null" && (p.Types[1] == "array" || p.AdditionalProperties != nil || !slices.Contains(s.Required, name)) {
			p.Type, p.Types = p.Types[1], nil
		}
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

// whole makes the lists and maps of an answer that are nil empty ones: null is of no use to anybody.
func whole(v reflect.Value) {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return
	}
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !f.CanSet():
		case v.Type().Field(i).Anonymous:
			whole(f)
		case f.Kind() == reflect.Slice && f.IsNil():
			f.Set(reflect.MakeSlice(f.Type(), 0, 0))
		case f.Kind() == reflect.Map && f.IsNil():
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
}
