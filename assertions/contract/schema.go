package contract

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/devloop-io/devloop/traffic"
)

// jsonSchema makes a check of the bodies of calls by a JSON Schema (2020-12 unless it says another draft), which may be
// written in YAML. Bodies that do not call themselves JSON are not its business.
func jsonSchema(files Files, name string, data []byte, part Part) (func(*traffic.Call) (Conformance, []string), error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(below{files})
	doc, err := parsed(data)
	if err != nil {
		return nil, err
	}
	at := "file:///" + name
	if err := c.AddResource(at, doc); err != nil {
		return nil, err
	}
	schema, err := c.Compile(at)
	if err != nil {
		return nil, err
	}
	return func(call *traffic.Call) (Conformance, []string) {
		if call.HTTP == nil || call.GRPC != nil {
			return Other, nil
		}
		h, headers, body, cut, seen := call.HTTP, call.HTTP.ResponseHeaders, call.HTTP.ResponseBody, call.HTTP.ResponseBodyCut, call.Answered()
		if part == Request {
			headers, body, cut, seen = h.RequestHeaders, h.RequestBody, h.RequestBodyCut, call.Asked()
		}
		name := fmt.Sprintf("%s %s: %s body", call.Method, call.Path, part)
		switch {
		case !seen || cut || h.BodyError != "" || call.State == traffic.StateTruncated && part == Response:
			return Open, []string{name + " was not seen whole"}
		case !strings.Contains(contentType(headers), "json"):
			return Other, nil
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			return Breaks, []string{name + ": it is not JSON"}
		}
		err = schema.Validate(value)
		var bad *jsonschema.ValidationError
		switch {
		case err == nil:
			return Conforms, nil
		case !errors.As(err, &bad):
			return Open, []string{name + ": " + err.Error()}
		}
		var reasons []string
		for _, leaf := range leaves(bad) {
			reasons = append(reasons, name+" at /"+strings.Join(leaf.InstanceLocation, "/")+": "+leaf.ErrorKind.LocalizedString(printer))
		}
		if redacted(body) {
			for i := range reasons {
				reasons[i] += mayBeRedacted
			}
			return judged(nil, reasons)
		}
		return judged(reasons, nil)
	}, nil
}

var printer = message.NewPrinter(language.English)

// leaves are the errors that say something: those above them say that something below is wrong.
func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, c := range e.Causes {
		if all = append(all, leaves(c)...); len(all) > maxReasons {
			break
		}
	}
	return all
}

func contentType(list []traffic.Header) string {
	for _, h := range list {
		if strings.EqualFold(h.Name, "Content-Type") {
			return strings.ToLower(h.Value)
		}
	}
	return ""
}

// below reads what schemas refer to.
type below struct{ files Files }

// Load reads one of them.
func (b below) Load(at string) (any, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "file" {
		return nil, fmt.Errorf("%s is not a file below the folder, and is not read", at)
	}
	data, err := b.files(path.Clean(strings.TrimPrefix(u.Path, "/")))
	if err != nil {
		return nil, err
	}
	return parsed(data)
}

// parsed is a document in JSON or YAML.
func parsed(data []byte) (any, error) {
	if doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data)); err == nil {
		return doc, nil
	}
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	return doc, nil
}
