package deploy

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/devloop-io/devloop/internal/config"
)

// annotationSource says where an object is written, for errors. It is not applied.
const annotationSource = "devloop.dev/source"

// sourceOf is the file and line of an object, or empty where devloop made it.
func sourceOf(o *unstructured.Unstructured) string { return o.GetAnnotations()[annotationSource] }

func setSource(o *unstructured.Unstructured, source string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationSource] = source
	o.SetAnnotations(annotations)
}

// document is one of a file's.
type document struct {
	file   string
	number int
	line   int // of its first line in the file, from 1
	text   []byte
}

// parse reads the documents of a YAML or JSON text; lists are taken apart.
func parse(name string, text []byte) ([]*unstructured.Unstructured, error) {
	split := splitYAML
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		split = splitJSON
	}
	documents, err := split(name, text)
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, d := range documents {
		objects, err := d.objects()
		if err != nil {
			return nil, err
		}
		if all = append(all, objects...); len(all) > maxObjects {
			return nil, fmt.Errorf("%s: more than %d objects", name, maxObjects)
		}
	}
	return all, nil
}

// splitYAML cuts at lines that begin with ---, as kubectl does.
func splitYAML(name string, text []byte) ([]document, error) {
	var all []document
	d := document{file: name, number: 1, line: 1}
	for i, line := range bytes.SplitAfter(text, []byte("\n")) {
		if bytes.HasPrefix(line, []byte("---")) && (len(line) == 3 || strings.ContainsRune(" \t\r\n", rune(line[3]))) {
			if len(bytes.TrimSpace(d.text)) > 0 {
				all = append(all, d)
				d.number++
			}
			d.line, d.text = i+1, append([]byte("   "), line[3:]...)
			continue
		}
		d.text = append(d.text, line...)
	}
	return append(all, d), nil
}

// splitJSON takes a stream of JSON values apart.
func splitJSON(name string, text []byte) ([]document, error) {
	var all []document
	r := stdjson.NewDecoder(bytes.NewReader(text))
	for n := 1; ; n++ {
		var raw stdjson.RawMessage
		began := r.InputOffset()
		err := r.Decode(&raw)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			at := began
			var syntax *stdjson.SyntaxError
			if errors.As(err, &syntax) {
				at = min(syntax.Offset, int64(len(text)))
			}
			return nil, place(name, string(text), 1+bytes.Count(text[:at], []byte("\n")), fmt.Sprintf("this is not JSON: %v (document %d)", err, n))
		}
		end := r.InputOffset()
		all = append(all, document{file: name, number: n, line: 1 + bytes.Count(text[:end-int64(len(raw))], []byte("\n")), text: raw})
	}
}

// place is an error with the line that it is about.
func place(file, text string, line int, what string) error {
	lines := strings.Split(text, "\n")
	line = max(1, min(line, len(lines)))
	source := strings.TrimSuffix(lines[line-1], "\r")
	e := &config.Error{File: file, Line: line, Msg: what, Source: source, Column: len(source) - len(strings.TrimLeft(source, " \t")) + 1}
	if strings.HasPrefix(strings.TrimLeft(source, " "), "\t") {
		e.Hint = "indent with spaces: YAML allows no tabs there"
	}
	return e
}

// wrong is an error about the whole document.
func (d document) wrong(format string, args ...any) error {
	skip := d.blank()
	source := strings.TrimSuffix(strings.Split(string(d.text), "\n")[skip], "\r")
	return &config.Error{File: d.file, Line: d.line + skip, Source: source, Msg: fmt.Sprintf(format, args...) + fmt.Sprintf(" (document %d)", d.number)}
}

var yamlLine = regexp.MustCompile(`^(?:error converting YAML to JSON: )?yaml: (?:unmarshal errors:\s*)?(?:line (\d+): )?(?s:(.*))$`)

// objects reads what a document holds: nothing, an object, or a list of objects.
func (d document) objects() ([]*unstructured.Unstructured, error) {
	text, err := yaml.YAMLToJSONStrict(d.text)
	if err != nil {
		return nil, d.syntax(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return nil, d.wrong("this cannot be read: %v", err)
	}
	if value == nil {
		return nil, nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, d.wrong("a Kubernetes object is a mapping with apiVersion, kind and metadata, and this is none")
	}
	if len(fields) == 0 {
		return nil, nil
	}
	if items, ok := fields["items"].([]any); ok && strings.HasSuffix(asText(fields["kind"]), "List") {
		return d.list(items)
	}
	if err := d.check(fields, ""); err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{Object: fields}
	setSource(o, fmt.Sprintf("%s:%d", d.file, d.line+d.blank()))
	return []*unstructured.Unstructured{o}, nil
}

func asText(v any) string { s, _ := v.(string); return s }

// blank counts the lines before the first that says something.
func (d document) blank() int {
	n := 0
	for line := range bytes.Lines(d.text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			return n
		}
		n++
	}
	return 0
}

func (d document) list(items []any) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for i, item := range items {
		where := fmt.Sprintf("item %d: ", i+1)
		fields, ok := item.(map[string]any)
		if !ok {
			return nil, d.wrong("%sit is no mapping, so it is no Kubernetes object", where)
		}
		if err := d.check(fields, where); err != nil {
			return nil, err
		}
		o := &unstructured.Unstructured{Object: fields}
		setSource(o, fmt.Sprintf("%s:%d item %d", d.file, d.line+d.blank(), i+1))
		all = append(all, o)
	}
	return all, nil
}

// check says what an object misses that nothing can be done without.
func (d document) check(fields map[string]any, where string) error {
	for _, key := range []string{"apiVersion", "kind"} {
		if asText(fields[key]) == "" {
			return d.wrong("%sit has no %s, so it is no Kubernetes object", where, key)
		}
	}
	metadata, ok := fields["metadata"].(map[string]any)
	name := asText(metadata["name"])
	switch {
	case !ok || name == "" && asText(metadata["generateName"]) == "":
		return d.wrong("%s%s has no metadata.name", where, asText(fields["kind"]))
	case name == "":
		return d.wrong("%s%s has metadata.generateName; devloop finds its objects by their names, so it needs metadata.name", where, asText(fields["kind"]))
	}
	for _, key := range []string{"labels", "annotations"} {
		values, isMap := metadata[key].(map[string]any)
		if metadata[key] != nil && !isMap {
			return d.wrong("%s%s %s: metadata.%s is no mapping", where, asText(fields["kind"]), name, key)
		}
		for k, v := range values {
			if _, isText := v.(string); !isText {
				return d.wrong("%s%s %s: metadata.%s: the value of %s must be text, in quotes", where, asText(fields["kind"]), name, key, k)
			}
		}
	}
	if ns := metadata["namespace"]; ns != nil && asText(ns) == "" {
		return d.wrong("%s%s %s: metadata.namespace is no name", where, asText(fields["kind"]), name)
	}
	return nil
}

// syntax gives the parser's error its line in the file.
func (d document) syntax(err error) error {
	m := yamlLine.FindStringSubmatch(err.Error())
	if m == nil || m[1] == "" {
		return d.wrong("this is not YAML: %s", strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
	}
	n, _ := strconv.Atoi(m[1])
	if strings.HasPrefix(m[2], "did not find expected") {
		n++ // the parser counts from 0, the scanner from 1
	}
	before := strings.Repeat("\n", d.line-1)
	return place(d.file, before+string(d.text), d.line+n-1, fmt.Sprintf("this is not YAML: %s (document %d)", m[2], d.number))
}
