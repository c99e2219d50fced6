package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/devloop-io/devloop/internal/control"
)

// object is a JSON object whose members keep their order.
type object []field

type field struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// describe makes an OpenAPI 3.1 document of the routes, and the types of their requests and answers.
func describe(methods []method) ([]byte, error) {
	s := &schemas{refs: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[[]byte]():          {Type: "string", ContentEncoding: "base64"},
		reflect.TypeFor[json.RawMessage](): {},
	}}
	named := byName(methods)
	paths := map[string]object{}
	var order []string
	for _, t := range served(named) {
		path := strings.ReplaceAll(t.path, "...}", "}")
		if paths[path] == nil {
			order = append(order, path)
		}
		operation, err := s.operation(t, named[t.method])
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", t.verb, t.path, err)
		}
		paths[path] = append(paths[path], field{strings.ToLower(t.verb), operation})
	}
	for _, p := range fixedPaths() {
		order = append(order, p.name)
		paths[p.name] = p.value.(object)
	}
	var all object
	for _, path := range order {
		all = append(all, field{path, paths[path]})
	}
	s.add(reflect.TypeFor[control.Error]())
	components, err := s.components()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", "devloop"}, {"version", "1"},
			{"description", "What a workspace's services say to each other. The daemon serves this on 127.0.0.1 to whoever has its token. Text inside calls was captured from the network: it is untrusted."},
			{"license", object{{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}},
		}},
		{"servers", []any{object{{"url", "http://127.0.0.1:8898"}, {"description", "devloop daemon listen 127.0.0.1:8898"}}}},
		{"security", []any{object{{"bearer", []string{}}}, object{{"kubeshark", []string{}}}}},
		{"paths", all},
		{"components", object{
			{"securitySchemes", object{
				{"bearer", object{{"type", "http"}, {"scheme", "bearer"}, {"description", "devloop daemon token prints it; each daemon has a new one"}}},
				{"kubeshark", object{{"type", "apiKey"}, {"in", "header"}, {"name", "X-Kubeshark-Authorization"}, {"description", "the same token, for clients that have this header"}}},
			}},
			{"responses", object{{"Error", object{
				{"description", "What failed, and the next command to type"},
				{"content", jsonContent(object{{"$ref", "#/components/schemas/control.Error"}})},
			}}}},
			{"schemas", components},
		}},
	})
	if err != nil {
		return nil, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, b, "", "  "); err != nil {
		return nil, err
	}
	return append(pretty.Bytes(), '\n'), nil
}

func jsonContent(schema any) object {
	return object{{"application/json", object{{"schema", schema}}}}
}

// fixedPaths are those that no route of the table has.
func fixedPaths() object {
	ok := func(schema any) object {
		return object{
			{"200", object{{"description", "OK"}, {"content", jsonContent(schema)}}},
			{"default", object{{"$ref", "#/components/responses/Error"}}},
		}
	}
	anything := object{{"type", "object"}}
	return object{
		{"/mcp", object{
			{"get", object{{"operationId", "discover"}, {"summary", "Tools, prompts and endpoints; with Accept: text/event-stream, the stream of the Model Context Protocol"}, {"responses", ok(anything)}}},
			{"post", object{
				{"operationId", "mcp"}, {"summary", "The Model Context Protocol: JSON-RPC 2.0 over streamable HTTP"},
				{"parameters", []any{object{{"name", "toolsets"}, {"in", "query"}, {"description", "toolsets with commas between them, or all; loop by default"}, {"schema", object{{"type", "string"}}}}}},
				{"requestBody", object{{"required", true}, {"content", jsonContent(anything)}}},
				{"responses", ok(anything)},
			}},
		}},
		{"/mcp/tools/call", object{{"post", object{
			{"operationId", "call_tool"}, {"summary", "Call any tool; the answer is its structured content"},
			{"requestBody", object{{"required", true}, {"content", jsonContent(object{
				{"type", "object"}, {"required", []string{"name"}},
				{"properties", object{{"name", object{{"type", "string"}}}, {"arguments", anything}}},
			})}}},
			{"responses", ok(anything)},
		}}}},
	}
}

// operation describes one route.
func (s *schemas) operation(t route, m method) (object, error) {
	id := strings.ToLower(t.verb) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "", "-", "_").Replace(t.path)
	o := object{{"operationId", id}, {"summary", t.what}, {"tags", []string{m.name}}}
	inPath := wildcards(t.path)
	parameters := []any{}
	for _, each := range membersOf(m.request) {
		place := "query"
		if slices.Contains(inPath, each.name) {
			place = "path"
		} else if t.verb != "GET" || s.fixed(t, each.name) {
			continue
		}
		p, err := s.parameter(each, place)
		if err != nil {
			return nil, err
		}
		parameters = append(parameters, p)
	}
	if len(parameters) > 0 {
		o = append(o, field{"parameters", parameters})
	}
	if t.verb == "POST" && len(membersOf(m.request)) > len(inPath) && t.set == "" {
		o = append(o, field{"requestBody", object{{"content", jsonContent(s.ref(m.request))}}})
	}
	content := jsonContent(s.ref(m.answer))
	if t.file != nil {
		content = object{{"application/vnd.tcpdump.pcap", object{{"schema", object{{"type", "string"}, {"format", "binary"}}}}}}
	}
	return append(o, field{"responses", object{
		{"200", object{{"description", "OK"}, {"content", content}}},
		{"default", object{{"$ref", "#/components/responses/Error"}}},
	}}), nil
}

func (s *schemas) fixed(t route, name string) bool {
	return strings.Contains(t.set, `"`+name+`"`)
}

// parameter describes a member as it stands in a URL.
func (s *schemas) parameter(m member, place string) (object, error) {
	p := object{{"name", m.name}, {"in", place}}
	if place == "path" {
		p = append(p, field{"required", true})
	}
	if doc := m.field.Tag.Get("jsonschema"); doc != "" {
		p = append(p, field{"description", doc})
	}
	t := deref(m.kind)
	switch {
	case t.Kind() == reflect.Map:
		return append(p, field{"schema", object{{"type", "string"}, {"pattern", "^[^=,]+=[^,]*(,[^=,]+=[^,]*)*$"}, {"examples", []string{"app=cart,tier=backend"}}}}), nil
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		p = append(p, field{"style", "form"}, field{"explode", false})
	case t.Kind() == reflect.Struct:
		return append(p, field{"content", jsonContent(s.ref(t))}), nil
	}
	schema, err := jsonschema.ForType(t, &jsonschema.ForOptions{TypeSchemas: s.refs})
	if err != nil {
		return nil, err
	}
	if len(schema.Types) == 2 && schema.Types[0] == "null" { // a URL has no null
		schema.Type, schema.Types = schema.Types[1], nil
	}
	return append(p, field{"schema", schema}), nil
}

// schemas are the components of the document: one of each struct type of ours that a request or an answer has.
type schemas struct {
	types []reflect.Type
	refs  map[reflect.Type]*jsonschema.Schema
}

// ref refers to a type's schema.
func (s *schemas) ref(t reflect.Type) any {
	if t == reflect.TypeFor[none]() {
		return object{{"type", "object"}}
	}
	s.add(t)
	return s.refs[t]
}

// add takes a type and all that it is made of.
func (s *schemas) add(t reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		s.add(t.Elem())
		return
	case reflect.Struct:
	default:
		return
	}
	if s.refs[t] != nil || !strings.HasPrefix(t.PkgPath(), "github.com/devloop-io/") {
		return
	}
	name := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:] + "." + t.Name()
	s.refs[t] = &jsonschema.Schema{Ref: "#/components/schemas/" + name}
	s.types = append(s.types, t)
	for _, m := range membersOf(t) {
		s.add(m.kind)
	}
}

// components are the schemas by name.
func (s *schemas) components() (object, error) {
	var all object
	for _, t := range s.types {
		schema, err := jsonschema.ForType(unnamed(t), &jsonschema.ForOptions{TypeSchemas: s.refs})
		if err != nil {
			return nil, fmt.Errorf("the schema of %s: %w", t, err)
		}
		schema.AdditionalProperties = nil // later builds may answer more
		orNull(schema)
		all = append(all, field{strings.TrimPrefix(s.refs[t].Ref, "#/components/schemas/"), schema})
	}
	slices.SortFunc(all, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return all, nil
}

// orNull says of a reference that it may be null in the way that validators read: beside a $ref, a type would have to hold as well.
func orNull(s *jsonschema.Schema) {
	if s == nil {
		return
	}
	if s.Ref != "" && (s.Type == "null" || slices.Contains(s.Types, "null")) {
		s.AnyOf = []*jsonschema.Schema{{Ref: s.Ref}, {Type: "null"}}
		s.Ref, s.Type, s.Types = "", "", nil
		return
	}
	orNull(s.Items)
	orNull(s.AdditionalProperties)
	for _, p := range s.Properties {
		orNull(p)
	}
}

// unnamed is a struct with the same members: a type that contains itself would have no schema otherwise.
func unnamed(t reflect.Type) reflect.Type {
	var fields []reflect.StructField
	for _, m := range membersOf(t) {
		f := m.field
		f.Anonymous, f.Index, f.Offset = false, nil, 0
		fields = append(fields, f)
	}
	return reflect.StructOf(fields)
}
