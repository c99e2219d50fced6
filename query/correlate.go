package query

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/store"
)

// enough is how many calls a correlation needs before its interval says anything.
const enough = 10

// Correlate says whether two numbers of calls go together.
func Correlate(ctx context.Context, db *Database, r CorrelateRequest) (*Correlation, error) {
	x, err := numeric("x", r.X)
	if err != nil {
		return nil, err
	}
	y, err := numeric("y", r.Y)
	if err != nil {
		return nil, err
	}
	v, err := openSurvey(ctx, db, r.Selection)
	if err != nil {
		return nil, err
	}
	a := &Correlation{X: x.Name, Y: y.Name, UnitX: unit(x), UnitY: unit(y), Bins: []Bin{}}
	var xs, ys []float64
	random := rand.New(rand.NewPCG(1, 2))
	for c, err := range v.callsWith(readsPayload(x) || readsPayload(y)) {
		if err != nil {
			return nil, err
		}
		row := &filter.Row{Call: c, Conn: v.conns[c.ConnID]}
		vx, okX := value(x, row)
		vy, okY := value(y, row)
		if !okX || !okY {
			a.Without++
			continue
		}
		a.N++
		switch i := random.IntN(a.N); {
		case len(xs) < maxSample:
			xs, ys = append(xs, vx), append(ys, vy)
		case i < maxSample:
			xs[i], ys[i] = vx, vy
		}
	}
	a.Sampled = a.N > len(xs)
	a.Reading = v.reading("calls")
	a.decide(xs, ys)
	return a, nil
}

// readsPayload reports whether a field's value takes more than slim calls have.
func readsPayload(f filter.Field) bool {
	reads := f.Reads()
	return reads == nil || slices.ContainsFunc(reads, store.IsPayload)
}

// numeric is a field of calls that is a number or a duration.
func numeric(which, name string) (filter.Field, error) {
	f, ok := filter.Lookup(name)
	if !ok {
		return f, mistake("docs/fields.md lists the fields; nearest: "+filter.Nearest(name), "%s: there is no field %q", which, name)
	}
	switch f.Type.Kind() {
	case types.IntKind, types.DoubleKind, types.DurationKind:
	default:
		return f, mistake("such as latency, request_body_size, response_body_size, status_code, retry.attempts", "%s: %s is no number", which, name)
	}
	if f.Rows == filter.Connections {
		return f, mistake("such as latency, request_body_size, response_body_size, status_code, retry.attempts", "%s: %s is of connections, and calls are correlated", which, name)
	}
	return f, nil
}

// unit is what a value is given in: durations in milliseconds.
func unit(f filter.Field) string {
	if f.Type.Kind() == types.DurationKind {
		return "ms"
	}
	return f.Unit
}

func value(f filter.Field, r *filter.Row) (float64, bool) {
	v, ok := f.Get(r)
	if !ok {
		return 0, false
	}
	switch v := v.Value().(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	case time.Duration:
		return float64(v) / 1e6, true
	}
	return 0, false
}

// decide computes the correlation of what was found.
func (a *Correlation) decide(x, y []float64) {
	if len(x) < enough {
		a.Says = fmt.Sprintf("%d calls have both %s and %s: too few to tell, it takes %d", len(x), a.X, a.Y, enough)
		return
	}
	rho, tau, n := spearman(x, y), kendall(x, y), float64(len(x))
	a.Spearman = correlationInterval(rho, (1+rho*rho/2)/(n-3))
	a.Kendall = correlationInterval(tau, 0.437/(n-4))
	a.P = noRelation(rho, len(x))
	a.Bins = fourths(x, y)
	a.Says = a.words(constant(x), constant(y))
}

func constant(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return x != v[0] })
}

// words say what the numbers mean.
func (a *Correlation) words(constantX, constantY bool) string {
	switch {
	case constantX || constantY:
		a.P = 1
		return fmt.Sprintf("%s is the same in all calls: nothing can depend on it", map[bool]string{true: a.X, false: a.Y}[constantX])
	case a.Spearman.Low <= 0 && a.Spearman.High >= 0:
		return fmt.Sprintf("no relation of %s and %s shows: rho %.2f, between %.2f and %.2f, in %d calls", a.X, a.Y, a.Spearman.Value, a.Spearman.Low, a.Spearman.High, a.N)
	}
	strength := "weak"
	switch weakest := min(math.Abs(a.Spearman.Low), math.Abs(a.Spearman.High)); {
	case weakest >= 0.6:
		strength = "strong"
	case weakest >= 0.3:
		strength = "moderate"
	}
	direction := "grows"
	if a.Spearman.Value < 0 {
		direction = "falls"
	}
	return fmt.Sprintf("%s %s with %s, a %s relation at least: rho %.2f, between %.2f and %.2f, in %d calls. That they go together does not say which causes which",
		a.Y, direction, a.X, strength, a.Spearman.Value, a.Spearman.Low, a.Spearman.High, a.N)
}

// fourths cut the calls into four by x; equal values stay together.
func fourths(x, y []float64) []Bin {
	order := sortedBy(x)
	bins := []Bin{}
	for from := 0; from < len(order); {
		to := min(len(order), from+(len(order)-from+3-len(bins))/max(1, 4-len(bins)))
		if len(bins) >= 3 {
			to = len(order)
		}
		for to < len(order) && x[order[to]] == x[order[to-1]] {
			to++
		}
		values := make([]float64, 0, to-from)
		for _, i := range order[from:to] {
			values = append(values, y[i])
		}
		slices.Sort(values)
		bins = append(bins, Bin{N: len(values), From: x[order[from]], To: x[order[to-1]], MedianY: values[(len(values)-1)/2]})
		from = to
	}
	return bins
}
