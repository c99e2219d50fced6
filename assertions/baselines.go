package assertions

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"

	"cel.dev/cel-go/cel"

	"github.com/devloop-io/devloop/assertions/baseline"
	"github.com/devloop-io/devloop/assertions/stat"
	"github.com/devloop-io/devloop/traffic"
)

// BaselineFile is the baseline that a window is judged with, or why there is none.
type BaselineFile struct {
	Name     string // of the file, for people
	Baseline *baseline.Baseline
	Err      error
	Host     baseline.Host // where the window was captured; the zero value where that is not known
}

func baselineAggregates() []aggregate {
	of := func(name, signature, doc, example string, t *cel.Type, evaluate func(*selection, *term, *baseline.Baseline) (result, error), params ...parameter) aggregate {
		return aggregate{name: name, signature: signature, section: sectionBaseline, doc: doc, example: example,
			required: len(params), params: params, result: always(t), evaluate: withBaseline(evaluate)}
	}
	return []aggregate{
		of("slowdown", "slowdown(x, baseline)", "How much larger x is than in the baseline, as a share: Hodges and Lehmann's estimate over each endpoint's own latencies, with an interval that allows for what runs of the same code differ by. x is `latency`.",
			`slowdown(latency, baseline) < 0.10`, estimateDouble, slowdown, quantity, theBaseline),
		of("increase", "increase(x, baseline)", "How much larger x is than in the baseline, as a share. x is `response_body_size` or `latency`.",
			`increase(response_body_size, baseline) < 0.5`, estimateDouble, slowdown, quantity, theBaseline),
		of("new_edges", "new_edges(baseline)", "The edges that the baseline lacks.", `new_edges(baseline).size() == 0`, namesType, newEdges, theBaseline),
		of("new_fields", "new_fields(baseline)", "The fields of JSON bodies, of endpoints that the baseline knows, that it lacks; a field of another type is another field.",
			`new_fields(baseline).size() == 0`, namesType, newFields, theBaseline),
		of("changed", "changed(x, baseline)", "Whether x has values that the baseline lacks. x is `status_code`, of endpoints that the baseline knows, or `route`.",
			`!changed(status_code, baseline)`, cel.BoolType, changed, anything, theBaseline),
	}
}

// withBaseline hands the baseline on, or says why there is none.
func withBaseline(evaluate func(*selection, *term, *baseline.Baseline) (result, error)) func(*selection, *term) (result, error) {
	return func(s *selection, t *term) (result, error) {
		switch f := s.baseline; {
		case f.Baseline != nil:
			return evaluate(s, t, f.Baseline)
		case f.Err != nil && !errors.Is(f.Err, fs.ErrNotExist):
			return result{}, fmt.Errorf("%s needs the baseline %s: %w", t.text, f.Name, f.Err)
		case f.Name != "":
			return result{}, fmt.Errorf("%s needs the baseline %s, and there is none: devloop baseline record", t.text, f.Name)
		}
		return result{}, fmt.Errorf("%s needs a baseline, and none is named after what drove the services: devloop baseline record", t.text)
	}
}

// slowdown compares each row with the baseline of its own endpoint: both sides are divided by that endpoint's median, and put
// together.
func slowdown(s *selection, t *term, b *baseline.Baseline) (result, error) {
	field := t.args[0].text
	sampleOf := func(e *baseline.EndpointFacts) []float64 { return e.Latency.Sample }
	switch {
	case field == "latency":
	case field == "response_body_size" && t.aggregate.name == "increase":
		sampleOf = func(e *baseline.EndpointFacts) []float64 { return e.Sizes }
	default:
		return result{}, fmt.Errorf("%s: the baseline knows latency and, for increase, response_body_size of each endpoint, and not %s", t.text, field)
	}
	values, _, open, err := s.numbers(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	e := &estimate{typ: estimateDouble, n: len(values), comparer: t.comparer, value: math.NaN(), low: math.Inf(-1), high: math.Inf(1), samples: values}
	r := result{value: e, n: len(values), open: open}
	if field == "latency" && s.baseline.Host != (baseline.Host{}) && b.Host != s.baseline.Host {
		r.note = "the baseline was recorded on another host (" + b.Host.String() + "), so latencies are not compared"
		return r, nil
	}
	var old, now, medians []float64
	seen := map[string]float64{} // endpoint → its median, 0 where the baseline has none
	for _, x := range values {
		c := s.rows[x.rows[0]].Call
		if c == nil || math.IsNaN(x.value) {
			continue
		}
		name := baseline.NameOf(c)
		median, known := seen[name]
		if !known {
			if f, ok := b.Endpoint(name); ok && len(sampleOf(f)) > 0 {
				median = max(stat.Median(sampleOf(f)), tiny)
				for _, y := range sampleOf(f) {
					old = append(old, max(y, tiny)/median)
				}
				for _, m := range f.Latency.Medians {
					medians = append(medians, math.Log(m/median))
				}
			}
			seen[name] = median
		}
		if median == 0 {
			continue
		}
		v := x.value
		if field == "latency" {
			v /= 1e6
		}
		now = append(now, max(v, tiny)/median)
	}
	if len(now) == 0 {
		r.note = "the baseline has none of these endpoints"
		return r, nil
	}
	shift, err := stat.Compare(old, now, s.confidence)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", t.text, err)
	}
	e.value, e.sampled = shift.Ratio-1, true
	if s.hidden {
		return r, nil
	}
	noise := 0.0
	if field == "latency" {
		noise = stat.Noise([][]float64{medians}, b.Runs, 1)
	}
	if math.IsNaN(noise) {
		r.note = "how much runs of the same code differ is not known from one run: record the baseline with more"
		return r, nil
	}
	e.low, e.high = widened(shift, noise, s.confidence)
	e.needs = func(bound float64) int { return stat.ShiftNeeds(shift, 1+bound) }
	return r, nil
}

// tiny stands for nothing where shares are taken: a nanosecond, or a millionth of a byte.
const tiny = 1e-6

// widened is the interval of a shift of one run, as a share more, when runs themselves differ.
func widened(s stat.Shift, noise, confidence float64) (low, high float64) {
	z := stat.Normal(confidence) * noise
	down, up := math.Log(s.Ratio/s.Low), math.Log(s.High/s.Ratio)
	return s.Ratio*math.Exp(-math.Hypot(down, z)) - 1, s.Ratio*math.Exp(math.Hypot(up, z)) - 1
}

func newEdges(s *selection, t *term, b *baseline.Baseline) (result, error) {
	byName := map[string]*element{}
	for i := range s.rows {
		src, dst, sni := rowEnds(&s.rows[i])
		name := baseline.EdgeOf(src, dst, sni)
		if _, known := b.Edge(name); !known {
			add(byName, name, i)
		}
	}
	return s.gathered(t, byName), nil
}

func newFields(s *selection, t *term, b *baseline.Baseline) (result, error) {
	byName := map[string]*element{}
	for i := range s.rows {
		c := s.rows[i].Call
		if c == nil {
			continue
		}
		f, known := b.Endpoint(baseline.NameOf(c))
		if !known {
			continue
		}
		for _, field := range f.NewFields(c) {
			add(byName, field, i)
		}
	}
	return s.gathered(t, byName), nil
}

func add(byName map[string]*element, name string, row int) {
	if byName[name] == nil {
		byName[name] = &element{names: []string{name}}
	}
	byName[name].rows = append(byName[name].rows, row)
}

// gathered is a set of names.
func (s *selection) gathered(t *term, byName map[string]*element) result {
	set := &names{open: s.hidden, comparer: t.setUses, estimates: t.comparer}
	for _, e := range byName {
		set.elements = append(set.elements, *e)
	}
	slices.SortFunc(set.elements, func(a, b element) int { return cmp.Compare(a.names[0], b.names[0]) })
	return result{value: set, n: len(s.rows)}
}

func changed(s *selection, t *term, b *baseline.Baseline) (result, error) {
	var known func(c *traffic.Call) bool
	switch field := t.args[0].text; field {
	case "status_code":
		known = func(c *traffic.Call) bool { return b.KnowsOutcome(c) }
	case "route":
		known = func(c *traffic.Call) bool { _, ok := b.Endpoint(baseline.NameOf(c)); return ok }
	default:
		return result{}, fmt.Errorf("%s: the baseline knows status_code and route of each endpoint, and not %s", t.text, field)
	}
	column, err := s.column(t.args[0].row)
	if err != nil {
		return result{}, err
	}
	r := result{n: len(s.rows)}
	for i, cell := range column {
		switch c := s.rows[i].Call; {
		case c == nil, cell.state == absent:
		case cell.state == unknown:
			r.open = append(r.open, i)
		case !known(c):
			r.hits = append(r.hits, i)
		}
	}
	r.shown = fmt.Sprintf("%d of %d new", len(r.hits), r.n)
	r.value = threeValued(len(r.hits) > 0, len(r.open) == 0 && !s.hidden)
	return r, nil
}
