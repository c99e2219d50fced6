package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/traffic"
)

// What is read of a JSON body at most.
const (
	deepest    = 12
	mostFields = 300
	mostKeys   = 64 // of one object; one with more is a map whose keys are data
)

// jsonFields are the paths of the fields of a JSON body with their types, sorted: "items[].price: number". Keys that look like
// identifiers are written {id}: they are data, not names. It is not ok where the body is none, or not there whole.
func jsonFields(body []byte, cut bool, headers []traffic.Header) (fields []string, ok bool) {
	if len(body) == 0 || cut || !isJSON(headers) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	w := walker{d: d, seen: map[string]bool{}}
	if err := w.value("", 0); err != nil {
		return nil, false
	}
	for f := range w.seen {
		fields = append(fields, f)
	}
	slices.Sort(fields)
	return fields, true
}

func isJSON(headers []traffic.Header) bool {
	for _, h := range headers {
		if strings.EqualFold(h.Name, "content-type") {
			kind, _, _ := strings.Cut(strings.ToLower(h.Value), ";")
			kind = strings.TrimSpace(kind)
			return kind == "application/json" || strings.HasSuffix(kind, "+json")
		}
	}
	return false
}

// walker reads a body token by token: how deep and how much is bounded, whatever the body holds.
type walker struct {
	d    *json.Decoder
	seen map[string]bool
}

var errTooMuch = errors.New("too deep")

func (w *walker) note(path, kind string) {
	if len(w.seen) < mostFields {
		w.seen[clean(strings.TrimPrefix(path, "."))+": "+kind] = true
	}
}

func (w *walker) value(path string, depth int) error {
	token, err := w.d.Token()
	if err != nil {
		return err
	}
	if depth > deepest {
		return errTooMuch
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '[' {
			return w.array(path, depth)
		}
		return w.object(path, depth)
	case string:
		w.note(path, "string")
	case json.Number:
		w.note(path, "number")
	case bool:
		w.note(path, "boolean")
	case nil:
		w.note(path, "null")
	}
	return nil
}

func (w *walker) array(path string, depth int) error {
	w.note(path, "array")
	for w.d.More() {
		if err := w.value(path+"[]", depth+1); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}

func (w *walker) object(path string, depth int) error {
	if path != "" {
		w.note(path, "object")
	}
	for n := 0; w.d.More(); n++ {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok {
			return io.ErrUnexpectedEOF
		}
		if n >= mostKeys || derive.Identifies(key) {
			key = "{id}"
		}
		if err := w.value(path+"."+key, depth+1); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}
