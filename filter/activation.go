package filter

import (
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Mode says what a missing value reads as.
type Mode uint8

// The modes of an [Activation].
const (
	ModeFilter Mode = iota // KFL's default: "", 0, false, empty
	ModeExpect             // CEL's unknown: see [Activation.Missing] and [Activation.Unanswered]
)

// Activation lends the fields of one row to a CEL program. It reads a field when the program asks for it, and holds no
// map. It belongs to one goroutine; [Activation.Reset] makes it ready for the next row.
type Activation struct {
	row        *Row
	mode       Mode
	now        types.Timestamp
	missing    []*Field
	unanswered []*Field
	ends       *ends // set while [Filter.Could] asks; the row is then nil
}

var _ cel.Activation = (*Activation)(nil)

// NewActivation returns an activation for which now() is the time given.
func NewActivation(now time.Time) *Activation {
	return &Activation{now: types.Timestamp{Time: now}}
}

// Reset makes it speak of a row, and forgets what was asked about the one before.
func (a *Activation) Reset(row *Row, mode Mode) {
	a.row, a.mode = row, mode
	a.missing, a.unanswered = a.missing[:0], a.unanswered[:0]
}

// Missing are the fields that were asked for since Reset and that this row does not have at all, such as retry.attempts of a
// call that was not retried. Only [ModeExpect] records them; the program saw CEL's unknown in their place.
func (a *Activation) Missing() []string { return names(a.missing) }

// Unanswered are the fields that were asked for since Reset and that the row's call has, but the capture did not see:
// response fields of a call without a (whole) answer, request fields of one whose request was not captured
// ([traffic.Call.Asked]), and what follows from headers that the capture lacks. Only [ModeExpect] records them; the program saw CEL's unknown in their place.
func (a *Activation) Unanswered() []string { return names(a.unanswered) }

func names(fields []*Field) []string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Name)
	}
	return all
}

// Variables beside the fields; users cannot type their names.
const (
	nowVariable = "@now"
	rowVariable = "@row"
	hasPrefix   = "@has."
)

// ResolveName implements [cel.Activation].
func (a *Activation) ResolveName(name string) (any, bool) {
	if f, ok := table().byName[name]; ok {
		return a.value(f), true
	}
	switch {
	case name == nowVariable:
		return a.now, true
	case name == rowVariable:
		return a, true
	case strings.HasPrefix(name, hasPrefix):
		f, ok := table().byName[name[len(hasPrefix):]]
		if !ok {
			return nil, false
		}
		return a.has(f), true
	}
	return nil, false
}

// Parent implements [cel.Activation].
func (a *Activation) Parent() cel.Activation { return nil }

// value is a field's value for the program: the row's, a default, or unknown.
func (a *Activation) value(f *Field) ref.Val {
	if a.ends != nil {
		return a.ends.value(f)
	}
	v, ok := f.Get(a.row)
	switch {
	case a.mode == ModeExpect && a.unseen(f, ok):
		return a.absent(f, &a.unanswered)
	case ok:
		return v
	case a.mode == ModeFilter && (f.number != nil || f.partial):
		return v // a number may have one that says that there is none
	case a.mode == ModeFilter:
		return f.zero
	}
	return a.absent(f, &a.missing)
}

// unseen reports whether the row's call has a value for the field that the capture did not see: it lies in an answer that
// did not come, or in a request that was not captured.
func (a *Activation) unseen(f *Field, ok bool) bool {
	c := a.row.Call
	if c == nil || f.applies != nil && !f.applies(a.row) {
		return false
	}
	switch {
	case f.Response && !ok, f.Request && !c.Asked() && !(f.echoed && isDNS(a.row)):
		return true
	case unknownSQL(c, f), parentUnsure(c, f), f.timed && c.ClockStepped():
		return true
	case c.HTTP == nil:
		return false
	}
	return f.head == requestHead && c.HTTP.RequestHeadersCut || f.head == responseHead && c.HTTP.ResponseHeadersCut ||
		f.head != 0 && c.HTTP.UnknownHeaders > 0 && (f.Type.Kind() == types.MapKind || f.text != nil || f.flag != nil) // times are known
}

// absent notes on a list that the row has no value and returns CEL's unknown.
func (a *Activation) absent(f *Field, list *[]*Field) ref.Val {
	if !slices.Contains(*list, f) {
		*list = append(*list, f)
	}
	return f.unknown
}

// has answers has(field): whether the row has the field, and it is not its type's default.
func (a *Activation) has(f *Field) ref.Val {
	if a.ends != nil {
		v := a.ends.value(f)
		if types.IsUnknown(v) {
			return v
		}
		return types.Bool(v.Equal(f.zero) != types.True)
	}
	v, ok := f.Get(a.row)
	if a.mode == ModeExpect && a.unseen(f, ok) {
		return a.absent(f, &a.unanswered)
	}
	return types.Bool((ok || f.partial) && v.Equal(f.zero) != types.True)
}
