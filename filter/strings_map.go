package filter

import (
	"fmt"
	"reflect"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/devloop-io/devloop/traffic"
)

// stringsMap is a map of text to text that CEL reads in place: headers, cookies, query parameters, labels. Where fold is
// set its keys are case-insensitive and read back in lower case, as HTTP/2 writes them, and the values
// of a name that stands several times are joined with ", ", as RFC 9110 section 5.3 allows for headers. In other maps the
// first value of a name stands for it.
type stringsMap struct {
	pairs []traffic.Header
	fold  bool
}

var _ traits.Mapper = (*stringsMap)(nil)

func (m *stringsMap) same(a, b string) bool {
	if m.fold {
		return strings.EqualFold(a, b)
	}
	return a == b
}

func (m *stringsMap) key(name string) string {
	if m.fold {
		return strings.ToLower(name)
	}
	return name
}

// get returns the value of a name, joined where it stands several times.
func (m *stringsMap) get(name string) (string, bool) {
	var value string
	var found bool
	for i := range m.pairs {
		switch {
		case !m.same(m.pairs[i].Name, name):
		case !found && !m.fold:
			return m.pairs[i].Value, true
		case found:
			value += ", " + m.pairs[i].Value
		default:
			value, found = m.pairs[i].Value, true
		}
	}
	return value, found
}

// keys are the distinct names in the order of their first appearance.
func (m *stringsMap) keys() []string {
	var keys []string
	for i := range m.pairs {
		if m.first(i) {
			keys = append(keys, m.key(m.pairs[i].Name))
		}
	}
	return keys
}

// first reports whether pair i is the first of its name.
func (m *stringsMap) first(i int) bool {
	for j := range i {
		if m.same(m.pairs[j].Name, m.pairs[i].Name) {
			return false
		}
	}
	return true
}

// Find implements [traits.Mapper].
func (m *stringsMap) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		if types.IsUnknownOrError(key) {
			return key, false
		}
		return nil, false
	}
	v, found := m.get(string(name))
	if !found {
		return nil, false
	}
	return types.String(v), true
}

// Contains implements [traits.Container].
func (m *stringsMap) Contains(key ref.Val) ref.Val {
	if types.IsUnknownOrError(key) {
		return key
	}
	_, found := m.Find(key)
	return types.Bool(found)
}

// Get implements [traits.Indexer].
func (m *stringsMap) Get(key ref.Val) ref.Val {
	if v, found := m.Find(key); found {
		return v
	}
	if types.IsUnknownOrError(key) {
		return key
	}
	return types.NewErr("no such key: %v", key)
}

// Size implements [traits.Sizer]: the number of distinct names.
func (m *stringsMap) Size() ref.Val {
	n := 0
	for i := range m.pairs {
		if m.first(i) {
			n++
		}
	}
	return types.Int(n)
}

// Iterator implements [traits.Iterable], over the distinct names.
func (m *stringsMap) Iterator() traits.Iterator {
	return types.DefaultTypeAdapter.NativeToValue(m.keys()).(traits.Lister).Iterator()
}

// Equal implements [ref.Val].
func (m *stringsMap) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for _, name := range m.keys() {
		mine, _ := m.get(name)
		theirs, found := o.Find(types.String(name))
		if !found || theirs.Equal(types.String(mine)) != types.True {
			return types.False
		}
	}
	return types.True
}

// ConvertToNative implements [ref.Val].
func (m *stringsMap) ConvertToNative(t reflect.Type) (any, error) {
	plain := make(map[string]string, len(m.pairs))
	for _, name := range m.keys() {
		plain[name], _ = m.get(name)
	}
	if t == reflect.TypeFor[map[string]string]() {
		return plain, nil
	}
	v, err := types.DefaultTypeAdapter.NativeToValue(plain).ConvertToNative(t)
	if err != nil {
		return nil, fmt.Errorf("convert map to %v: %w", t, err)
	}
	return v, nil
}

// ConvertToType implements [ref.Val].
func (m *stringsMap) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return m
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from 'map' to '%s'", t)
}

// Type implements [ref.Val].
func (m *stringsMap) Type() ref.Type { return stringMap }

// Value implements [ref.Val].
func (m *stringsMap) Value() any { return m.pairs }
