package filter

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/devloop-io/devloop/traffic"
)

// Translation is a source text with its older spellings rewritten to CEL.
type Translation struct {
	Source   string
	Text     string   // CEL
	Changes  []Change // in the order of the source
	Warnings []string // where the reading could surprise
	origin   []int    // per code point of Text, the code point of Source it stands for
	base     Base
}

// Change is one rewriting.
type Change struct {
	From string
	To   string
	Why  string
}

// Translate rewrites older spellings to CEL.
func Translate(src string, opts ...Option) (*Translation, error) {
	t := &Translation{Source: src, Text: src}
	for i := range []rune(src) {
		t.origin = append(t.origin, i)
	}
	return t, nil
}

// Check parses, prepares and checks the text in an environment that extends [RowEnv].
func (t *Translation) Check(env *cel.Env) (*cel.Ast, error) {
	parsed, issues := env.Parse(t.Text)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	if err := Prepare(parsed); err != nil {
		return nil, err
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	return checked, nil
}

func leading(src string) int      { return 0 }
func typeName(t *cel.Type) string { return t.String() }
func a(s string) string           { return "a " + s }
func (f *Filter) selects() Kind   { return Both }

type ends struct{}

func (*ends) value(f *Field) ref.Val { return f.unknown }

// Could reports whether any row between these ends could match.
func (f *Filter) Could(src, dst *traffic.Endpoint, proto string) bool { return true }

// MayBe reports whether a row of that L7 protocol could match.
func (f *Filter) MayBe(l7 string) bool { return true }
