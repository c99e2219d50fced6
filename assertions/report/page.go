package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/query"
	"github.com/devloop-io/devloop/traffic"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"line": oneLine, "printable": printable,
	"percent": func(x float64) string { return strconv.FormatFloat(100*x, 'f', 1, 64) + " %" },
	"div":     func(ns int64) float64 { return float64(ns) / 1e6 },
	"ms":      func(x float64) string { return strconv.FormatFloat(x, 'f', 1, 64) },
}).Parse(pageText))

// sheet is what the page's template sees.
type sheet struct {
	*Report
	When    string
	Verdict string
	Failure string
	Checks  []checkView
	Lines   []waterfall
	Drawing *drawing
	Slowest float64 // of all endpoints' p99
}

type checkView struct {
	*traffic.CheckResult
	Title    string
	Gates    bool
	Open     bool
	Terms    []termView
	Calls    []traffic.FullCall
	Details  string
	Evidence []traffic.Evidence
}

// termView is an aggregate with its interval as a bar: lengths are parts of 100.
type termView struct {
	traffic.Term
	Drawn           bool
	Left, Width, At float64
	From, To        string
}

// waterfall is a tree of calls as bars.
type waterfall struct {
	Title string
	Bars  []bar
}

type bar struct {
	Name, Title string
	Depth       int
	Left, Width float64
	Failed      bool
	Critical    bool
	Latency     float64
}

const maxBars = 200

// page writes one file without scripts and without anything from elsewhere: it can be opened from an e-mail.
func page(w io.Writer, r *Report) error {
	it := r.Iteration
	s := sheet{Report: r, When: time.Unix(0, it.Started).UTC().Format("2006-01-02 15:04:05 UTC"), Verdict: orFailed(it), Failure: failure(it)}
	rank := r.worst()
	for _, c := range r.told() {
		if c.Verdict == traffic.Pass || c.Verdict == traffic.Skipped {
			rank = append(rank, c)
		}
	}
	for _, c := range rank {
		s.Checks = append(s.Checks, r.view(c))
	}
	for _, t := range r.Trees {
		s.Lines = append(s.Lines, fall(t))
	}
	for i := range r.Endpoints {
		s.Slowest = max(s.Slowest, r.Endpoints[i].P99)
	}
	if r.Map != nil && len(r.Map.Edges) > 0 {
		s.Drawing = draw(r.Map)
	}
	if err := pageTemplate.Execute(w, s); err != nil {
		return fmt.Errorf("write HTML: %w", err)
	}
	return nil
}

// Bar is a part of the slowest endpoint's p99, of 100.
func (s sheet) Bar(ms float64) float64 {
	if s.Slowest <= 0 {
		return 0
	}
	return 100 * ms / s.Slowest
}

func (r *Report) view(c *traffic.CheckResult) checkView {
	v := checkView{CheckResult: c, Title: title(c), Gates: r.gates(c), Open: c.Verdict != traffic.Pass && c.Verdict != traffic.Skipped, Details: details(c), Evidence: c.Evidence}
	if r.Evidence != nil {
		v.Calls = r.Evidence[c.Name]
	}
	for _, t := range c.Terms {
		v.Terms = append(v.Terms, interval(t))
	}
	return v
}

// interval draws an estimate between 0 and a little beyond its interval, where its texts are numbers of one unit.
func interval(t traffic.Term) termView {
	v := termView{Term: t}
	value, ok := number(t.Value)
	low, okLow := number(t.Low)
	high, okHigh := number(t.High)
	if !ok {
		return v
	}
	if !okLow || !okHigh {
		low, high = value, value
	}
	from, to := min(0, low, value), max(low, high, value)*1.15
	if to <= from || math.IsInf(to, 0) {
		return v
	}
	part := func(x float64) float64 { return 100 * (x - from) / (to - from) }
	v.Drawn, v.Left, v.Width, v.At = true, part(low), max(part(high)-part(low), 0.6), part(value)
	v.From, v.To = short(from), short(to)
	return v
}

func short(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }

// number is the figure of "96 ms", "1.2 s", "0.5", in milliseconds where it is a time.
func number(s string) (float64, bool) {
	text, unit, _ := strings.Cut(strings.TrimSpace(s), " ")
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, false
	}
	switch unit {
	case "", "ms", "%":
		return x, true
	case "s":
		return 1000 * x, true
	case "µs", "us":
		return x / 1000, true
	case "ns":
		return x / 1e6, true
	}
	return 0, false
}

// fall lays a tree of calls out in time.
func fall(root *traffic.TraceNode) waterfall {
	end := root.Latency
	var list []*traffic.TraceNode
	var walk func(*traffic.TraceNode)
	walk = func(n *traffic.TraceNode) {
		if len(list) >= maxBars {
			return
		}
		list = append(list, n)
		end = max(end, n.Start+n.Latency)
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(root)
	end = max(end, 0.001)
	f := waterfall{Title: asked(root)}
	for _, n := range list {
		f.Bars = append(f.Bars, bar{
			Name: n.Service, Title: asked(n), Depth: n.Depth, Left: 100 * n.Start / end, Width: max(100*n.Latency/end, 0.3), Latency: n.Latency,
			Failed: n.Error != "" || n.Status >= 500 || n.State != traffic.StateComplete, Critical: n.Critical,
		})
	}
	return f
}

func asked(n *traffic.TraceNode) string {
	path := n.Route
	if path == "" {
		path = n.Path
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", n.Src+" → "+n.Service, n.Method, path, n.State))
}

// drawing is the service map: columns by how far a service is from where calls come in.
type drawing struct {
	Width, Height int
	Boxes         []box
	Lines         []line
}

type box struct {
	X, Y       int
	Name, Note string
	External   bool
}

type line struct {
	X1, Y1, X2, Y2 int
	Title, Label   string
	Failed         bool
	Stroke         float64
}

const (
	boxWidth, boxHeight = 150, 34
	gapX, gapY          = 110, 22
	maxBoxes            = 80
)

func draw(m *query.ServiceMap) *drawing {
	column := columns(m)
	byColumn := map[int][]string{}
	d := &drawing{}
	last := 0
	for i, n := range m.Nodes {
		if i == maxBoxes {
			break
		}
		byColumn[column[n.Name]] = append(byColumn[column[n.Name]], n.Name)
		last = max(last, column[n.Name])
	}
	at := map[string]box{}
	kinds := map[string]query.MapNode{}
	for _, n := range m.Nodes {
		kinds[n.Name] = n
	}
	for x := range last + 1 {
		slices.Sort(byColumn[x])
		for y, name := range byColumn[x] {
			n := kinds[name]
			b := box{X: 10 + x*(boxWidth+gapX), Y: 10 + y*(boxHeight+gapY), Name: name, External: n.Kind == "external", Note: strings.Join(n.Protocols, ", ")}
			at[name] = b
			d.Boxes = append(d.Boxes, b)
			d.Width, d.Height = max(d.Width, b.X+boxWidth+10), max(d.Height, b.Y+boxHeight+10)
		}
	}
	most := 1
	for _, e := range m.Edges {
		most = max(most, e.Calls)
	}
	for _, e := range m.Edges {
		from, ok := at[e.Src]
		to, also := at[e.Dst]
		if !ok || !also || e.Src == e.Dst {
			continue
		}
		l := line{X1: from.X + boxWidth, Y1: from.Y + boxHeight/2, X2: to.X, Y2: to.Y + boxHeight/2, Failed: e.Errors > 0,
			Stroke: 1 + 4*math.Log1p(float64(e.Calls))/math.Log1p(float64(most))}
		if to.X <= from.X {
			l.X1, l.X2 = from.X+boxWidth/2, to.X+boxWidth/2
			l.Y1, l.Y2 = from.Y+boxHeight, to.Y+boxHeight
		}
		l.Title = fmt.Sprintf("%s → %s: %d calls, %.1f %% errors, p50 %.1f ms, p99 %.1f ms, %d connections", e.Src, e.Dst, e.Calls, 100*e.ErrorRate, e.P50, e.P99, e.Connections)
		if e.HandshakeP50 > 0 {
			l.Title += fmt.Sprintf(", handshake p50 %d µs", e.HandshakeP50)
		}
		l.Label = strconv.Itoa(e.Calls)
		d.Lines = append(d.Lines, l)
	}
	return d
}

// columns are the steps from the ends that nobody calls, at most as many as there are ends.
func columns(m *query.ServiceMap) map[string]int {
	called := map[string]bool{}
	for _, e := range m.Edges {
		if e.Src != e.Dst {
			called[e.Dst] = true
		}
	}
	column := map[string]int{}
	for range m.Nodes {
		moved := false
		for _, e := range m.Edges {
			if want := column[e.Src] + 1; e.Src != e.Dst && called[e.Dst] && column[e.Dst] < want && want < len(m.Nodes) && !cyclic(m, e.Dst, e.Src) {
				column[e.Dst], moved = want, true
			}
		}
		if !moved {
			break
		}
	}
	return column
}

// cyclic reports whether an edge leads back at once.
func cyclic(m *query.ServiceMap, from, to string) bool {
	return slices.ContainsFunc(m.Edges, func(e query.MapEdge) bool { return e.Src == from && e.Dst == to })
}
