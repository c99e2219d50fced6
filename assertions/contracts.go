package assertions

import (
	"context"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/assertions/contract"
)

func contractAggregates() []aggregate {
	return []aggregate{
		{name: conformsName, signature: "conforms(file, part)", section: sectionContracts,
			doc:     "Every call is as a file of the repository promises, which is named by its path below the workspace: an OpenAPI document (endpoint, parameters, credentials, bodies, status), a JSON Schema (JSON bodies; part is \"response\", as by default, or \"request\"), or protobuf definitions (gRPC methods and messages). Calls of other protocols are left out; a body that was cut or redacted leaves it open.",
			example: `conforms("api/openapi.yaml")`, required: 1, params: []parameter{words, words}, result: always(cel.BoolType), evaluate: conforms},
	}
}

const conformsName = "conforms"

// contracts are the files that the checks of one judging name, each read once.
type contracts struct {
	files  contract.Files
	loaded map[string]loadedContract
}

type loadedContract struct {
	*contract.Contract
	err error
}

// loadBound is how long the reading of one contract may take: definitions can refer to many others.
const loadBound = 30 * time.Second

func (c *contracts) load(file string, part contract.Part) (*contract.Contract, error) {
	key := string(part) + " " + file
	if have, ok := c.loaded[key]; ok {
		return have.Contract, have.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), loadBound)
	defer cancel()
	loaded, err := contract.Load(ctx, c.files, file, part)
	if c.loaded == nil {
		c.loaded = map[string]loadedContract{}
	}
	c.loaded[key] = loadedContract{loaded, err}
	return loaded, err
}

// Contracts are the files that the suite's checks read through conforms, with what these refer to, by their paths below the
// workspace. What cannot be read is left out: judged with these files alone, a check says the same.
func (s *Suite) Contracts(files contract.Files) map[string][]byte {
	r := contract.NewRecorder(files)
	c := &contracts{files: r.Read}
	for _, check := range s.checks {
		for _, t := range check.expect.terms {
			if t.aggregate.name == conformsName {
				_, _ = c.load(t.args[0].said, contract.Response) // which bodies a schema speaks of does not change what is read
			}
		}
	}
	return r.Files()
}

// conforms fails on the first call that breaks the contract; calls of which too little was seen leave it open.
func conforms(s *selection, t *term) (result, error) {
	part := contract.Response
	if len(t.args) > 1 {
		switch part = contract.Part(t.args[1].said); part {
		case contract.Request, contract.Response:
		default:
			return result{}, fmt.Errorf("%s: a JSON Schema speaks of the request or the response, and not of %q", t.text, part)
		}
	}
	if s.contracts == nil {
		return result{}, fmt.Errorf("%s cannot be asked here", t.text)
	}
	c, err := s.contracts.load(t.args[0].said, part)
	if err != nil {
		return result{}, err
	}
	var r result
	var broken, open reasonCount
	for i := range s.rows {
		call := s.rows[i].Call
		if call == nil {
			continue
		}
		conformance, reasons := c.Check(call)
		switch conformance {
		case contract.Other:
			continue
		case contract.Breaks:
			r.hits = append(r.hits, i)
			broken.add(reasons)
		case contract.Open:
			r.open = append(r.open, i)
			open.add(reasons)
		}
		r.n++
	}
	r.shown = fmt.Sprintf("%d of %d", r.n-len(r.hits)-len(r.open), r.n)
	r.value = threeValued(len(r.hits) == 0 && len(r.open) == 0 && !s.hidden && r.n > 0, len(r.hits) > 0)
	r.why = broken.String()
	switch {
	case r.n == 0:
		r.note = fmt.Sprintf("0 of %s are such as %s speaks of", s.quantity(len(s.rows)), c.File())
	case len(r.open) > 0:
		r.note = open.String()
	}
	return r, nil
}

// reasonCount counts what was said of calls, in the order in which it was said first.
type reasonCount struct {
	order []string
	times map[string]int
}

func (c *reasonCount) add(reasons []string) {
	if c.times == nil {
		c.times = map[string]int{}
	}
	for _, r := range reasons {
		if c.times[r] == 0 {
			c.order = append(c.order, r)
		}
		c.times[r]++
	}
}

// String is the first reasons: "GET /prices 200: response body at /0/price: value must be a number (3 times)".
func (c *reasonCount) String() string {
	const most = 3
	var shown []string
	for i, r := range c.order {
		if i == most {
			shown = append(shown, fmt.Sprintf("and %d more", len(c.order)-most))
			break
		}
		if n := c.times[r]; n > 1 {
			r += fmt.Sprintf(" (%d times)", n)
		}
		shown = append(shown, r)
	}
	return strings.Join(shown, "; ")
}
