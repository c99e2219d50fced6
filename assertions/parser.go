package assertions

import (
	"sync"

	"github.com/devloop-io/devloop/filter"
)

// maxCompiled bounds what a [Parser] keeps.
const maxCompiled = 5000

// Parser reads check files again and again, as an editor does at every keystroke: expressions that it has compiled before
// it does not compile again. The zero value works, from several goroutines too.
type Parser struct {
	mu       sync.Mutex
	compiled map[expressions]*compiled
}

// expressions are the texts of a check that are compiled.
type expressions struct {
	on, expect, by string
	keyed          bool // has by, be it empty
}

// compiled is what they came to. Nothing changes it.
type compiled struct {
	on                          *filter.Filter
	expect                      *expectation
	by                          *rowExpression
	noOn, noExpect, noBy, clash error
	kind                        filter.Kind
	unit                        string
	back                        bool
	scope                       scope
}

// Parse is [Parse], faster the second time.
func (p *Parser) Parse(file string, data []byte) (*Suite, error) {
	s := &Suite{mutes: map[string]string{}, parser: p}
	if errs := s.add(file, data); len(errs) > 0 {
		return nil, errs
	}
	return s, nil
}

// compile compiles the expressions of a check, or remembers them. A nil parser remembers nothing.
func (p *Parser) compile(e expressions) *compiled {
	if p == nil {
		return compile(e)
	}
	p.mu.Lock()
	known := p.compiled[e]
	p.mu.Unlock()
	if known != nil {
		return known
	}
	known = compile(e)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.compiled == nil || len(p.compiled) >= maxCompiled {
		p.compiled = map[expressions]*compiled{}
	}
	p.compiled[e] = known
	return known
}

// compile compiles the expressions of a check. An empty one is somebody else's complaint.
func compile(e expressions) *compiled {
	k := &compiled{}
	if e.on != "" {
		k.on, k.noOn = filter.Compile(e.on)
	}
	if e.expect != "" {
		k.expect, k.noExpect = compileExpectation(e.expect)
	}
	if e.keyed {
		k.by, k.noBy = compileKey(e.by)
	}
	if k.on == nil || k.expect == nil {
		return k
	}
	c := &check{spec: Check{Expect: e.expect}, on: k.on, expect: k.expect}
	c.complete()
	k.kind, k.unit, k.back, k.scope, k.clash = c.kind, c.unit, c.back, c.scope, c.mismatch()
	return k
}
