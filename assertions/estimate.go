package assertions

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The types of the expectation language beside CEL's own. They are opaque: what is not declared for them does not compile.
var (
	estimateDuration = cel.OpaqueType("estimate", cel.DurationType)
	estimateDouble   = cel.OpaqueType("estimate", cel.DoubleType)
	estimateInt      = cel.OpaqueType("estimate", cel.IntType)
	groupsInt        = cel.OpaqueType("groups", cel.IntType)
	namesType        = cel.OpaqueType("names")
)

// estimateOf returns the estimate type of numbers of a type.
func estimateOf(t *cel.Type) *cel.Type {
	switch t.Kind() {
	case types.DurationKind:
		return estimateDuration
	case types.DoubleKind:
		return estimateDouble
	}
	return estimateInt
}

// isEstimate reports whether a type is an estimate of something.
func isEstimate(t *cel.Type) bool {
	return t != nil && t.Kind() == types.OpaqueKind && t.TypeName() == "estimate"
}

// estimate is a number that a check speaks of, with the interval in which it lies at the asked confidence. Durations are
// nanoseconds. An exact number has an interval of one point; one that capture loss or unanswered calls leave open has an
// interval that reaches to infinity.
type estimate struct {
	typ       *cel.Type
	value     float64
	low, high float64
	n         int
	exact     bool
	sampled   bool                    // the interval is one of confidence, not of what is left open
	vacuous   bool                    // no row has the field: every comparison is what makes its term hold
	holds     bool                    // what that is: false under an odd number of negations
	needs     func(bound float64) int // further samples that would decide a comparison with bound; nil where none would
	never     string                  // why == or a bound at the end of the range can never be shown
	comparer  *comparisons
	label     string   // the aggregate over groups that it is: max
	samples   []sample // what it was computed from, for evidence
	hits      []int    // rows that it counts, where it counts rows
	misses    []int    // rows that a ratio does not count
}

// comparison is one comparison that was made while an expectation was evaluated.
type comparison struct {
	operator string
	left     *estimate
	right    *estimate
	result   ref.Val
}

// comparisons collects them, for the reason sentence and the count of samples still needed.
type comparisons struct{ made []comparison }

// exactly is a number without doubt.
func exactly(t *cel.Type, v float64) *estimate {
	return &estimate{typ: t, value: v, low: v, high: v, exact: true}
}

// constant reads a CEL literal as an estimate of one point.
func constant(v ref.Val) *estimate {
	switch v := v.(type) {
	case *estimate:
		return v
	case types.Int:
		return exactly(estimateInt, float64(v))
	case types.Double:
		return exactly(estimateDouble, float64(v))
	case types.Duration:
		return exactly(estimateDuration, float64(v.Duration))
	}
	return nil
}

// compare decides an operator over two intervals: true, false, or CEL's unknown where they overlap.
func compare(operator string, left, right ref.Val) ref.Val {
	a, b := constant(left), constant(right)
	if a == nil || b == nil {
		return types.MaybeNoSuchOverloadErr(left)
	}
	result := decide(operator, a, b)
	for _, e := range []*estimate{a, b} {
		if e.comparer != nil {
			e.comparer.made = append(e.comparer.made, comparison{operator, a, b, result})
			break
		}
	}
	return result
}

func decide(operator string, a, b *estimate) ref.Val {
	if a.vacuous {
		return types.Bool(a.holds)
	}
	if b.vacuous {
		return types.Bool(b.holds)
	}
	switch operator {
	case "<":
		return threeValued(a.high < b.low, a.low >= b.high)
	case "<=":
		return threeValued(a.high <= b.low, a.low > b.high)
	case ">":
		return threeValued(a.low > b.high, a.high <= b.low)
	case ">=":
		return threeValued(a.low >= b.high, a.high < b.low)
	}
	same := a.low == a.high && b.low == b.high && a.low == b.low
	apart := a.high < b.low || b.high < a.low
	if operator == "!=" {
		return threeValued(apart, same)
	}
	return threeValued(same, apart)
}

// unknownComparison is the identity of unknowns that comparisons return. CEL only asks that it is not zero.
const unknownComparison = 1

func threeValued(yes, no bool) ref.Val {
	switch {
	case yes:
		return types.True
	case no:
		return types.False
	}
	return types.NewUnknown(unknownComparison, types.NewAttributeTrail("estimate"))
}

// arithmetic combines two intervals; result is the type that the overload declares.
func arithmetic(operator string, result *cel.Type, left, right ref.Val) ref.Val {
	a, b := constant(left), constant(right)
	if a == nil || b == nil {
		return types.MaybeNoSuchOverloadErr(left)
	}
	out := &estimate{typ: result, exact: a.exact && b.exact, sampled: a.sampled || b.sampled, n: max(a.n, b.n), comparer: a.comparer}
	if a.n > 0 && b.n > 0 {
		out.n = min(a.n, b.n)
	}
	if out.comparer == nil {
		out.comparer = b.comparer
	}
	if a.vacuous || b.vacuous {
		out.vacuous = true
		out.holds = a.vacuous && a.holds || b.vacuous && b.holds
		return out
	}
	apply := operation(operator)
	out.value = apply(a.value, b.value)
	if operator == "/" && b.low <= 0 && b.high >= 0 {
		if b.exact && b.value == 0 {
			return types.NewErr("division by zero")
		}
		out.low, out.high = math.Inf(-1), math.Inf(1)
		return out
	}
	out.low, out.high = math.Inf(1), math.Inf(-1)
	for _, x := range []float64{a.low, a.high} {
		for _, y := range []float64{b.low, b.high} {
			v := apply(x, y)
			if math.IsNaN(v) { // 0·∞ and ∞-∞: nothing is known at that corner
				out.low, out.high = math.Inf(-1), math.Inf(1)
				return out
			}
			out.low, out.high = min(out.low, v), max(out.high, v)
		}
	}
	return out
}

func operation(operator string) func(a, b float64) float64 {
	switch operator {
	case "+":
		return func(a, b float64) float64 { return a + b }
	case "-":
		return func(a, b float64) float64 { return a - b }
	case "*":
		return func(a, b float64) float64 { return a * b }
	}
	return func(a, b float64) float64 { return a / b }
}

// format writes a number of a type as people read it.
func format(t *cel.Type, v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "-∞"
	case math.IsNaN(v):
		return "unknown"
	case t == estimateDuration:
		return formatDuration(time.Duration(math.Round(v)))
	case t == estimateDouble:
		return significant(v)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// significant writes a number with at most four digits that matter.
func significant(v float64) string {
	s := strconv.FormatFloat(v, 'g', 4, 64)
	if strings.ContainsAny(s, "e") {
		s = strconv.FormatFloat(v, 'f', -1, 64)
		if math.Abs(v) >= 1e4 {
			s = strconv.FormatFloat(math.Round(v), 'f', -1, 64)
		} else if v != 0 && math.Abs(v) < 1e-4 {
			s = strconv.FormatFloat(v, 'g', 3, 64)
		}
	}
	return s
}

// formatDuration writes a duration with three digits and one unit: "96 ms", "4.80 s".
func formatDuration(d time.Duration) string {
	abs := d.Abs()
	switch {
	case abs == 0:
		return "0 ms"
	case abs < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case abs < time.Millisecond:
		return digits(float64(d)/1e3) + " µs"
	case abs < time.Second:
		return digits(float64(d)/1e6) + " ms"
	case abs < 10*time.Minute:
		return digits(float64(d)/1e9) + " s"
	}
	return d.Round(time.Second).String()
}

func digits(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 2, 64), ".00")
}

// String is the value as people read it: "131 ms".
func (e *estimate) String() string { return format(e.typ, e.value) }

// ConvertToNative implements [ref.Val].
func (e *estimate) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("convert an estimate to %v: not possible", t)
}

// ConvertToType implements [ref.Val].
func (e *estimate) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("an estimate cannot be converted to %s", t.TypeName())
}

// Equal implements [ref.Val]. Equality of estimates is a comparison of its own (@eq); reaching this is an error.
func (e *estimate) Equal(ref.Val) ref.Val {
	return types.NewErr("an estimate cannot be compared here")
}

// Type implements [ref.Val].
func (e *estimate) Type() ref.Type { return e.typ }

// Value implements [ref.Val].
func (e *estimate) Value() any { return e.value }
