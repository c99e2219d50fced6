package assertions

import (
	"fmt"
	"net/netip"
	"path"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// names is a set of destinations or edges. It is opaque because a list could never say that it may be incomplete.
type names struct {
	elements  []element // by display name
	open      bool      // capture was incomplete: there may be more
	comparer  *setUses
	estimates *comparisons
}

// element is one member with all its names: the display name first, then what else it answers to.
type element struct {
	names []string
	rows  []int
}

// setUse is one question that was asked of a set, for the reason sentence.
type setUse struct {
	question string
	offends  []element // members that the question does not allow
	result   ref.Val
}

type setUses struct{ made []setUse }

func (s *names) note(u setUse) ref.Val {
	if s.comparer != nil {
		s.comparer.made = append(s.comparer.made, u)
	}
	return u.result
}

// subsetOf is false when a member is found that no pattern allows, and true only over complete capture.
func (s *names) subsetOf(patterns []string) ref.Val {
	var outside []element
	for _, e := range s.elements {
		if !e.matchesAny(patterns) {
			outside = append(outside, e)
		}
	}
	return s.note(setUse{"subset_of", outside, threeValued(len(outside) == 0 && !s.open, len(outside) > 0)})
}

// contains is true when a member is found, and false only over complete capture.
func (s *names) contains(pattern string) ref.Val {
	for _, e := range s.elements {
		if e.matchesAny([]string{pattern}) {
			return s.note(setUse{"contains " + pattern, []element{e}, types.True})
		}
	}
	return s.note(setUse{"contains " + pattern, nil, threeValued(false, !s.open)})
}

func (e element) matchesAny(patterns []string) bool {
	for _, p := range patterns {
		for _, name := range e.names {
			if matchesName(p, name) {
				return true
			}
		}
	}
	return false
}

// matchesName reports whether a pattern stands for a name: "host:port", "host" on any port, "*.example.com", an address
// range with or without a port, or "from -> to" with such patterns on both sides. Case does not matter.
func matchesName(pattern, name string) bool {
	pattern, name = strings.ToLower(strings.TrimSpace(pattern)), strings.ToLower(name)
	pattern = strings.ReplaceAll(pattern, "→", "->")
	if from, to, ok := strings.Cut(name, " -> "); ok {
		pfrom, pto, ok := strings.Cut(pattern, "->")
		return ok && matchesName(pfrom, from) && matchesName(pto, to)
	}
	host, port := splitPort(name)
	phost, pport := splitPort(pattern)
	if pport != "" && pport != port && pport != "*" {
		return false
	}
	if phost == host {
		return true
	}
	if prefix, err := netip.ParsePrefix(phost); err == nil {
		addr, err := netip.ParseAddr(host)
		return err == nil && prefix.Contains(addr.Unmap())
	}
	matched, err := path.Match(phost, host)
	return err == nil && matched
}

// splitPort cuts "host:port", and leaves IPv6 addresses without a port whole.
func splitPort(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		if host, rest, ok := strings.Cut(s[1:], "]"); ok {
			return host, strings.TrimPrefix(rest, ":")
		}
	}
	at := strings.LastIndexByte(s, ':')
	if at < 0 || strings.Count(s, ":") > 1 {
		return s, ""
	}
	return s[:at], s[at+1:]
}

// The functions that members of sets become: size and contains are CEL's own for lists and strings.
const (
	sizeFunction     = "@size"
	containsFunction = "@contains"
	subsetFunction   = "subset_of"
)

func namesFunctions() []cel.EnvOption {
	return []cel.EnvOption{
		cel.Function(subsetFunction, cel.MemberOverload("names_subset_of", []*cel.Type{namesType, cel.ListType(cel.StringType)},
			cel.BoolType, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				s, ok := a.(*names)
				list, isList := b.(traits.Lister)
				if !ok || !isList {
					return types.MaybeNoSuchOverloadErr(a)
				}
				return s.subsetOf(stringsOf(list))
			}))),
		cel.Function(containsFunction, cel.MemberOverload("names_contains", []*cel.Type{namesType, cel.StringType},
			cel.BoolType, cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				s, ok := a.(*names)
				text, isText := b.(types.String)
				if !ok || !isText {
					return types.MaybeNoSuchOverloadErr(a)
				}
				return s.contains(string(text))
			}))),
		cel.Function(sizeFunction, cel.MemberOverload("names_size", []*cel.Type{namesType}, estimateInt,
			cel.UnaryBinding(func(a ref.Val) ref.Val {
				s, ok := a.(*names)
				if !ok {
					return types.MaybeNoSuchOverloadErr(a)
				}
				return s.size()
			}))),
	}
}

func stringsOf(list traits.Lister) []string {
	var all []string
	for it := list.Iterator(); it.HasNext() == types.True; {
		if s, ok := it.Next().(types.String); ok {
			all = append(all, string(s))
		}
	}
	return all
}

// size is how many members there are; more, when capture was incomplete.
func (s *names) size() *estimate {
	shown, rows := map[string]bool{}, []int(nil)
	for _, e := range s.elements {
		shown[e.names[0]] = true
		rows = append(rows, e.rows...)
	}
	e := counted(len(shown), 0, s.open)
	e.hits = unique(rows)
	e.n = len(e.hits)
	e.comparer = s.estimates
	return e
}

// String lists the first members.
func (s *names) String() string {
	var shown []string
	for i, e := range s.elements {
		if i == 5 {
			shown = append(shown, fmt.Sprintf("and %d more", len(s.elements)-i))
			break
		}
		shown = append(shown, e.names[0])
	}
	if len(shown) == 0 {
		return "none"
	}
	return strings.Join(shown, ", ")
}

// ConvertToNative implements [ref.Val].
func (s *names) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("convert a set of names to %v: not possible", t)
}

// ConvertToType implements [ref.Val].
func (s *names) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("a set of names cannot be converted to %s", t.TypeName())
}

// Equal implements [ref.Val]; sets are asked subset_of, contains and size.
func (s *names) Equal(ref.Val) ref.Val { return types.NewErr("a set of names cannot be compared") }

// Type implements [ref.Val].
func (s *names) Type() ref.Type { return namesType }

// Value implements [ref.Val].
func (s *names) Value() any { return s.elements }
