package filter

import (
	"slices"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Field is one variable of the language.
type Field struct {
	Name     string    // in KFL: "status_code", "src.service.name"
	JSON     string    // in the JSON of calls and connections: "status"; empty where it has no place of its own
	Aliases  []string  // accepted spellings: older KFL, OpenTelemetry, Wireshark
	Type     *cel.Type //
	Unit     string    // "ms", "bytes"; empty for plain numbers and text
	Doc      string    // one line
	Column   string    // of the Parquet table
	Example  string    // a filter that uses it
	Section  string    // heading in the field reference
	Rows     Kind      // which rows have it; rows of the other kind hold the default
	Optional bool      // rows of its kind may lack it (rule 3 of checks: a term over rows that all lack it is vacuous)
	Response bool      // unknown in expectations while the call has no answer (rule 1 of checks)
	Request  bool      // unknown in expectations where the call's request was not seen (rule 1 of checks)
	Stub     bool      // belongs to a protocol that is not dissected yet: always the default

	// Get reads it from a row. False means that the row has no value; the value is then the type's default.
	Get func(*Row) (ref.Val, bool)

	partial bool            // filters read what there is of it, though a part is missing
	echoed  bool            // answers repeat it: DNS answers carry the question
	parent  bool            // it follows from which call the parent is, which may not be sure
	timed   bool            // it says how long a call took, which is not known where the clock was set back meanwhile
	head    head            // it follows from the headers of the request or response, which may be cut
	end     int             // srcEnd, dstEnd, bothEnd: it follows from who the ends are
	applies func(*Row) bool // false: this row can never have it; nil: all rows of Rows can
	text    func(*Row) (string, bool)
	number  func(*Row) (int64, bool)
	flag    func(*Row) (bool, bool)
	zero    ref.Val
	unknown *types.Unknown
}

// head names the part of a call whose headers a field follows from.
type head uint8

const (
	requestHead head = iota + 1
	responseHead
)

// table is built once; its order is the order of the field reference.
var table = sync.OnceValue(func() *fieldTable {
	t := &fieldTable{byName: map[string]*Field{}, byAlias: map[string]*Field{}}
	for _, section := range sections() {
		for i := range section.fields {
			f := section.fields[i]
			f.Section = section.name
			if f.Rows == 0 {
				f.Rows = section.rows
			}
			if f.applies == nil {
				f.applies = section.applies
			}
			f.end = section.end
			f.Optional = f.Optional || section.optional
			f.zero = defaultOf(f.Type)
			t.fields = append(t.fields, f)
		}
	}
	for i := range t.fields {
		f := &t.fields[i]
		f.unknown = types.NewUnknown(int64(i+1), types.NewAttributeTrail(f.Name))
		t.byName[f.Name] = f
		for _, alias := range f.Aliases {
			t.byAlias[alias] = f
		}
	}
	return t
})

type fieldTable struct {
	fields  []Field
	byName  map[string]*Field
	byAlias map[string]*Field
}

// section is a part of the table whose fields share a heading and where they apply.
type section struct {
	name     string
	rows     Kind
	optional bool
	end      int
	applies  func(*Row) bool
	fields   []Field
}

// Fields returns the table, in the order of the field reference.
func Fields() []Field { return slices.Clone(table().fields) }

// Lookup returns the field of that name, or the one that the name is an alias of.
func Lookup(name string) (Field, bool) {
	t := table()
	if f, ok := t.byName[name]; ok {
		return *f, true
	}
	if f, ok := t.byAlias[name]; ok {
		return *f, true
	}
	return Field{}, false
}

// IsOptional reports whether rows may lack the field, so that a term over it can be vacuous.
func IsOptional(name string) bool {
	f, ok := Lookup(name)
	return ok && f.Optional
}

var (
	stringList   = cel.ListType(cel.StringType)
	stringMap    = cel.MapType(cel.StringType, cel.StringType)
	emptyList    = types.DefaultTypeAdapter.NativeToValue([]string{})
	emptyHeaders = &stringsMap{}
)

// defaultOf is what KFL reads where a row has no value.
func defaultOf(t *cel.Type) ref.Val {
	switch t.Kind() {
	case types.BoolKind:
		return types.False
	case types.IntKind:
		return types.Int(0)
	case types.DoubleKind:
		return types.Double(0)
	case types.DurationKind:
		return types.Duration{}
	case types.TimestampKind:
		return types.Timestamp{Time: time.Unix(0, 0).UTC()}
	case types.BytesKind:
		return types.Bytes{}
	case types.ListKind:
		return emptyList
	case types.MapKind:
		return emptyHeaders
	}
	return types.String("")
}

// The constructors below give a field its type and its getter.

func text(f Field, get func(*Row) (string, bool)) Field {
	f.Type, f.text = cel.StringType, get
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.String(v), ok
	}
	return f
}

func number(f Field, get func(*Row) (int64, bool)) Field {
	f.Type, f.number = cel.IntType, get
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.Int(v), ok
	}
	return f
}

func fraction(f Field, get func(*Row) (float64, bool)) Field {
	f.Type = cel.DoubleType
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.Double(v), ok
	}
	return f
}

func flag(f Field, get func(*Row) (bool, bool)) Field {
	f.Type, f.flag = cel.BoolType, get
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.Bool(v), ok
	}
	return f
}

// span is a duration; get returns nanoseconds.
func span(f Field, get func(*Row) (int64, bool)) Field {
	f.Type = cel.DurationType
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.Duration{Duration: time.Duration(v)}, ok
	}
	return f
}

// instant is a timestamp; get returns Unix nanoseconds.
func instant(f Field, get func(*Row) (int64, bool)) Field {
	f.Type = cel.TimestampType
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		return types.Timestamp{Time: time.Unix(0, v).UTC()}, ok
	}
	return f
}

func texts(f Field, get func(*Row) ([]string, bool)) Field {
	f.Type = stringList
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		if len(v) == 0 {
			return emptyList, ok
		}
		return types.DefaultTypeAdapter.NativeToValue(v), ok
	}
	return f
}

func mapping(f Field, get func(*Row) (*stringsMap, bool)) Field {
	f.Type = stringMap
	f.Get = func(r *Row) (ref.Val, bool) {
		v, ok := get(r)
		if v == nil {
			return emptyHeaders, ok
		}
		return v, ok
	}
	return f
}

// stub is a field of a protocol that is not dissected yet.
func stub(name string, t *cel.Type, doc string) Field {
	zero := defaultOf(t)
	return Field{Name: name, Type: t, Doc: doc, Stub: true, Optional: true,
		Get: func(*Row) (ref.Val, bool) { return zero, false }}
}
