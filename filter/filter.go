package filter

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Filter is a compiled filter. It may be used by many goroutines at once.
type Filter struct {
	translation *Translation
	checked     *cel.Ast
	program     cel.Program // nil: matches all
	kind        Kind
	now         time.Time
	pool        sync.Pool
}

// Option changes how [Compile] and [Translate] read a text.
type Option func(*options)

type options struct {
	base Base
	now  time.Time
}

// At places errors in the file that the expression stands in.
func At(base Base) Option { return func(o *options) { o.base = base } }

// Now fixes what now() returns; by default the time of compilation.
func Now(t time.Time) Option { return func(o *options) { o.now = t } }

// Compile turns text into a filter. An empty text matches every row. The error is an [*Error] where the text is at fault.
func Compile(src string, opts ...Option) (*Filter, error) {
	o := options{now: time.Now()}
	for _, opt := range opts {
		opt(&o)
	}
	t, err := Translate(src, opts...)
	if err != nil {
		return nil, err
	}
	f := &Filter{translation: t, kind: Both, now: o.now}
	f.pool.New = func() any { return NewActivation(o.now) }
	if t.empty {
		return f, nil
	}
	env, err := RowEnv()
	if err != nil {
		return nil, fmt.Errorf("build the filter environment: %w", err)
	}
	f.checked, err = t.Check(env)
	if err != nil {
		return nil, err
	}
	if out := f.checked.OutputType(); out.Kind() != types.BoolKind {
		return nil, newError(src, o.base, len(src)-len(strings.TrimLeft(src, " \t\r\n")), fmt.Sprintf("a filter is true or false, and this is %s", article(typeName(out))),
			"compare it with something")
	}
	f.program, err = Program(env, f.checked)
	if err != nil {
		return nil, newError(src, o.base, 0, strings.TrimSpace(err.Error()), "")
	}
	f.kind = f.selects()
	f.warn()
	return f, nil
}

// warn says why a filter that is correct can select nothing.
func (f *Filter) warn() {
	for _, field := range f.Fields() {
		if field.Stub {
			f.translation.Warnings = append(f.translation.Warnings, fmt.Sprintf("%s is always %s here: what it speaks of is not dissected yet",
				field.Name, literal(field.zero)))
		}
	}
	f.translation.Warnings = append(f.translation.Warnings, f.lint()...)
}

// literal is how a default is written.
func literal(v ref.Val) string {
	switch v := v.(type) {
	case types.Bool:
		return fmt.Sprint(bool(v))
	case types.Int:
		return fmt.Sprint(int64(v))
	case types.String:
		return `""`
	}
	return "empty"
}

// Match reports whether the row is selected. An error is a mistake in the filter that only this row shows, such as an index
// beyond a list's end; the row counts as not selected.
func (f *Filter) Match(r *Row) (bool, error) {
	if f.program == nil {
		return true, nil
	}
	act := f.pool.Get().(*Activation)
	act.Reset(r, ModeFilter)
	out, _, err := f.program.Eval(act)
	act.row = nil
	f.pool.Put(act)
	if err != nil {
		return false, fmt.Errorf("evaluate %q: %w", f.translation.Source, err)
	}
	return out == types.True, nil
}

// Source is the text as it was given.
func (f *Filter) Source() string { return f.translation.Source }

// Rewritten is the text in CEL: the source itself where nothing was rewritten.
func (f *Filter) Rewritten() string { return f.translation.Text }

// Changes are the rewritings, in the order of the source.
func (f *Filter) Changes() []Change { return f.translation.Changes }

// Warnings say where the reading could surprise.
func (f *Filter) Warnings() []string { return f.translation.Warnings }

// Checked is the checked tree, nil for an empty filter. Treat it as read-only.
func (f *Filter) Checked() *cel.Ast { return f.checked }

// Kind says which rows the filter can select. A filter selects calls when it could be true for some call whatever the fields
// hold, and connections likewise; where both hold but it reads fields of only one kind, it selects that kind. So `http`
// selects calls, `tcp_conn` and `handshake_rtt > duration("1ms")` connections, and `dst.name == "payment"` both.
func (f *Filter) Kind() Kind { return f.kind }
