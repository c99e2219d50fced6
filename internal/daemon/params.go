package daemon

import (
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/devloop-io/devloop/internal/control"
)

// member is one member of a request's JSON object.
type member struct {
	name  string
	kind  reflect.Type
	field reflect.StructField
}

// membersOf lists the members of a request type as encoding/json sees them: those of embedded structs are its own.
func membersOf(t reflect.Type) []member {
	var list []member
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		list = append(list, member{name, f.Type, f})
	}
	return list
}

// fromQuery makes a request of the parameters of a URL, by the names of its members. Lists are repeated or have commas between
// their items, maps are k=v,k2=v2, and a member of a member has a dot: a.snapshot_id=r7.
func fromQuery(t reflect.Type, values url.Values) (map[string]any, error) {
	request := map[string]any{}
	for _, name := range sortedKeys(values) {
		if err := setParameter(request, t, name, name, values[name]); err != nil {
			return nil, err
		}
	}
	return request, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// setParameter sets one member. path is the parameter's whole name, for errors.
func setParameter(object map[string]any, t reflect.Type, name, path string, texts []string) error {
	members := membersOf(t)
	first, rest, dotted := strings.Cut(name, ".")
	i := slices.IndexFunc(members, func(m member) bool { return m.name == first })
	if i < 0 || dotted && deref(members[i].kind).Kind() != reflect.Struct {
		return unknownParameter(path, members)
	}
	if dotted {
		inner, ok := object[first].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[first] = inner
		}
		return setParameter(inner, deref(members[i].kind), rest, path, texts)
	}
	v, err := parameter(members[i].kind, texts)
	if err != nil {
		return control.Usagef("/openapi.json says what each parameter takes", fmt.Sprintf("parameter %s: %v", path, err))
	}
	object[first] = v
	return nil
}

func deref(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func unknownParameter(name string, members []member) error {
	var names []string
	for _, m := range members {
		names = append(names, m.name)
	}
	hint := "parameters: " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "there are no parameters"
	}
	if strings.ContainsAny(name, " \"()<>!=") {
		hint = "a filter in a URL needs & as %26: curl --get --data-urlencode 'kfl=…' does that; " + hint
	}
	return control.Usagef(hint, fmt.Sprintf("there is no parameter %q here", name))
}

// parameter is the JSON value of a parameter that is given once, or as often as it has items.
func parameter(t reflect.Type, texts []string) (any, error) {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return nil, fmt.Errorf("%q is no UTF-8", text)
		}
	}
	t = deref(t)
	switch {
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8:
		return listParameter(t.Elem(), texts)
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.String:
		return mapParameter(texts)
	case len(texts) != 1:
		return nil, fmt.Errorf("it is given %d times", len(texts))
	}
	return scalar(t, texts[0])
}

func listParameter(item reflect.Type, texts []string) (any, error) {
	list := []any{}
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			v, err := scalar(deref(item), part)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
	}
	return list, nil
}

func mapParameter(texts []string) (any, error) {
	pairs := map[string]any{}
	for _, text := range texts {
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			k, v, ok := strings.Cut(part, "=")
			if !ok || k == "" {
				return nil, fmt.Errorf("%q is no k=v", part)
			}
			pairs[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return pairs, nil
}

// scalar is the value of one text.
func scalar(t reflect.Type, text string) (any, error) {
	switch t.Kind() {
	case reflect.String, reflect.Slice: // the slice is bytes, in base64
		return text, nil
	case reflect.Bool:
		if text == "" { // ?include_pcap
			return true, nil
		}
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return v, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v, err := strconv.ParseInt(text, 10, t.Bits())
		if err != nil {
			return nil, notNumber(text, err)
		}
		return v, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v, err := strconv.ParseUint(text, 10, t.Bits())
		if err != nil {
			return nil, notNumber(text, err)
		}
		return v, nil
	case reflect.Float32, reflect.Float64:
		v, err := strconv.ParseFloat(text, t.Bits())
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%q is no number", text)
		}
		return v, nil
	default:
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("%q is no JSON", text)
		}
		return v, nil
	}
}

func notNumber(text string, err error) error {
	if strings.HasSuffix(err.Error(), "out of range") {
		return fmt.Errorf("%s is too large or too small", text)
	}
	return fmt.Errorf("%q is no whole number", text)
}

// fromBody makes a request of a JSON object. A member that there is not is a mistake: who wrote it would wonder why it does
// nothing.
func fromBody(t reflect.Type, body []byte) (map[string]any, error) {
	if len(strings.TrimSpace(string(body))) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, unreadable(err)
	}
	object, ok := v.(map[string]any)
	if !ok || d.More() {
		return nil, control.Usagef("send {\"name\": value, …}", "the request is no JSON object")
	}
	return object, knownMembers(t, object, "")
}

func knownMembers(t reflect.Type, object map[string]any, path string) error {
	members := membersOf(t)
	for _, name := range sortedKeys(object) {
		i := slices.IndexFunc(members, func(m member) bool { return m.name == name })
		if i < 0 {
			return unknownParameter(path+name, members)
		}
		inner, ok := object[name].(map[string]any)
		if kind := deref(members[i].kind); ok && kind.Kind() == reflect.Struct {
			if err := knownMembers(kind, inner, path+name+"."); err != nil {
				return err
			}
		}
	}
	return nil
}
