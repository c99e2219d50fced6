package baseline

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/devloop-io/devloop/assertions/stat"
)

const (
	head = "# devloop baseline: how the services spoke when this was accepted. Review it like code; devloop baseline compare tells what\n" +
		"# differs, devloop baseline accept takes it over. Names in it come from the wire.\n"
	tail = "# end of baseline\n"
	// MostText is how large the text of a baseline may be, in bytes.
	MostText = 16 << 20
)

// Marshal writes a baseline as text: sorted, one fact a line, the same bytes for the same facts.
func Marshal(b *Baseline) ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(head)
	short := *b
	short.Endpoints = slices.Clone(b.Endpoints)
	for i := range short.Endpoints {
		e := &short.Endpoints[i]
		e.Latency.Sample = stat.Thin(e.Latency.Sample, writtenPoints)
		if len(e.Credentials.Items) == 0 {
			e.Credentials = SetFacts{} // check puts it back
		}
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&short); err != nil {
		return nil, fmt.Errorf("write baseline %s: %w", b.Name, err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write baseline %s: %w", b.Name, err)
	}
	out.WriteString(tail)
	return out.Bytes(), nil
}

// Parse reads the text of a baseline. What is wrong with it is said with the way out: merge conflicts, text that was cut off,
// a version of the form that this devloop does not know, figures that cannot be.
func Parse(data []byte) (*Baseline, error) {
	if len(data) > MostText {
		return nil, fmt.Errorf("read the baseline: it is larger than %d MiB", MostText>>20)
	}
	if line := conflict(data); line > 0 {
		return nil, fmt.Errorf("read the baseline: line %d begins an unresolved merge conflict: resolve it, or record again on the merged code: devloop baseline record", line)
	}
	var form struct {
		Version *int `yaml:"version"`
	}
	err := yaml.Unmarshal(data, &form)
	switch {
	case err == nil && form.Version == nil:
		return nil, errors.New("read the baseline: it has no version: this is no baseline, or its head is missing")
	case err == nil && *form.Version != Version:
		return nil, fmt.Errorf("read the baseline: its form is version %d, and this devloop knows version %d: use the devloop that wrote it, or record again: devloop baseline record", *form.Version, Version)
	case !bytes.HasSuffix(bytes.TrimRight(data, " \t\r\n"), []byte(strings.TrimSpace(tail))):
		return nil, errors.New("read the baseline: its end is missing, it was cut off: restore it from git, or record again: devloop baseline record")
	case err != nil:
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	b := &Baseline{}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(b); err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("read the baseline: there is more than one document in it")
	}
	return b, b.check()
}

// conflict is the first line that git's merge leaves in what it could not merge, or 0.
func conflict(data []byte) int {
	n := 0
	for line := range bytes.Lines(data) {
		n++
		for _, mark := range []string{"<<<<<<< ", ">>>>>>> ", "||||||| "} {
			if bytes.HasPrefix(line, []byte(mark)) {
				return n
			}
		}
		if string(bytes.TrimRight(line, "\r\n")) == "=======" {
			return n
		}
	}
	return 0
}

// check refuses figures that no recording gives, and puts lists in order that somebody may have edited.
func (b *Baseline) check() error {
	wrong := func(what string) error { return fmt.Errorf("read the baseline: %s", what) }
	if b.Runs < 1 || b.Runs > MostRuns || len(b.Entries) > MostRuns {
		return wrong(fmt.Sprintf("runs is %d, and 1 to %d can be", b.Runs, MostRuns))
	}
	slices.SortFunc(b.Edges, func(x, y EdgeFacts) int { return cmp.Compare(x.Name, y.Name) })
	slices.SortFunc(b.Endpoints, func(x, y EndpointFacts) int { return cmp.Compare(x.Name, y.Name) })
	for i, e := range b.Edges {
		if i > 0 && b.Edges[i-1].Name == e.Name {
			return wrong("the edge " + strconv.Quote(e.Name) + " stands in it twice")
		}
		if len(e.Calls) > cmp.Or(e.Of, b.Runs) || len(e.Calls) != len(e.Reused) || len(e.Calls) == 0 {
			return wrong("the edge " + strconv.Quote(e.Name) + " does not have one count of calls and reused for each run")
		}
	}
	for i := range b.Endpoints {
		e := &b.Endpoints[i]
		if i > 0 && b.Endpoints[i-1].Name == e.Name {
			return wrong("the call " + strconv.Quote(e.Name) + " stands in it twice")
		}
		if err := e.check(cmp.Or(e.Of, b.Runs)); err != nil {
			return wrong("the call " + strconv.Quote(e.Name) + " " + err.Error())
		}
	}
	return nil
}

func (e *EndpointFacts) check(runs int) error {
	if len(e.Calls) == 0 || len(e.Calls) > runs || len(e.Latency.Medians) > runs || len(e.Latency.Tails) > runs {
		return errors.New("does not have one count of calls for each run")
	}
	for _, list := range []*Counts{&e.Errors, &e.Retries} {
		if len(*list) == 0 {
			*list = make(Counts, len(e.Calls)) // none is not written
		}
		if len(*list) != len(e.Calls) {
			return errors.New("does not have one count of errors and retries for each run")
		}
	}
	if e.Credentials.IsZero() {
		e.Credentials.Of = Presence{e.Calls.Sum(), len(e.Calls)}
	}
	for _, list := range []Numbers{e.Latency.Medians, e.Latency.Sample, e.Latency.Tails} {
		for _, x := range list {
			if !(x > 0) || x > 1e9 {
				return fmt.Errorf("has a latency of %v ms, which is no time", x)
			}
		}
	}
	for _, x := range e.Sizes {
		if !(x >= 0) || math.IsInf(x, 1) {
			return fmt.Errorf("has a response of %v bytes", x)
		}
	}
	slices.Sort(e.Latency.Sample)
	slices.Sort(e.Sizes)
	return nil
}

// Counts are numbers of one thing in each run, written in ascending order: "80 x9, 82".
type Counts []int

// Sum is their sum.
func (c Counts) Sum() int {
	sum := 0
	for _, n := range c {
		sum += n
	}
	return sum
}

// Steady is the count of every run, where they all have the same one.
func (c Counts) Steady() (n int, ok bool) {
	if len(c) == 0 || slices.Min(c) != slices.Max(c) {
		return 0, false
	}
	return c[0], true
}

// IsZero reports whether there is nothing to write: 0 in every run.
func (c Counts) IsZero() bool { return c.Sum() == 0 }

// String is their text.
func (c Counts) String() string {
	sorted := slices.Sorted(slices.Values(c))
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		part := strconv.Itoa(sorted[i])
		if j-i > 1 {
			part += " x" + strconv.Itoa(j-i)
		}
		parts, i = append(parts, part), j
	}
	return strings.Join(parts, ", ")
}

// MarshalYAML writes their text.
func (c Counts) MarshalYAML() (any, error) { return c.String(), nil }

const largest = 1e9 // of any count: sums stay exact

// UnmarshalYAML reads their text.
func (c *Counts) UnmarshalYAML(n *yaml.Node) error {
	*c = nil
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: counts are text such as 80 x9, 82", n.Line)
	}
	if n.Value == "" {
		return nil
	}
	for _, part := range strings.Split(n.Value, ",") {
		number, times, many := strings.Cut(strings.TrimSpace(part), " x")
		k := 1
		v, err := strconv.Atoi(number)
		if err == nil && many {
			k, err = strconv.Atoi(times)
		}
		if err != nil || v < 0 || v > largest || k < 1 || len(*c)+k > MostRuns {
			return fmt.Errorf("line %d: %q are no counts such as 80 x9, 82", n.Line, n.Value)
		}
		for range k {
			*c = append(*c, v)
		}
	}
	return nil
}

// Presence is in how many calls and runs something was there: "400 calls in 10 runs".
type Presence struct{ Calls, Runs int }

// MarshalYAML writes its text.
func (p Presence) MarshalYAML() (any, error) {
	return fmt.Sprintf("%d calls in %d runs", p.Calls, p.Runs), nil
}

// UnmarshalYAML reads its text.
func (p *Presence) UnmarshalYAML(n *yaml.Node) error {
	calls, runs, ok := strings.Cut(strings.TrimSuffix(n.Value, " runs"), " calls in ")
	var err1, err2 error
	p.Calls, err1 = strconv.Atoi(calls)
	p.Runs, err2 = strconv.Atoi(runs)
	if !ok || err1 != nil || err2 != nil || p.Calls < 0 || p.Calls > largest || p.Runs < 0 || p.Runs > MostRuns {
		return fmt.Errorf("line %d: %q is not as 400 calls in 10 runs", n.Line, n.Value)
	}
	return nil
}

// always stands for what every call of a set has.
const always = "always"

// MarshalYAML writes "always" for what every call has, so that the text changes only where the facts do.
func (s SetFacts) MarshalYAML() (any, error) {
	items := map[string]any{}
	for name, p := range s.Items {
		items[name] = p
		if p == s.Of {
			items[name] = always
		}
	}
	return struct {
		Of    Presence       `yaml:"of"`
		Items map[string]any `yaml:"has,omitempty"`
	}{s.Of, items}, nil
}

// UnmarshalYAML reads it.
func (s *SetFacts) UnmarshalYAML(n *yaml.Node) error {
	var text struct {
		Of    Presence             `yaml:"of"`
		Items map[string]yaml.Node `yaml:"has"`
	}
	if err := n.Decode(&text); err != nil {
		return err
	}
	s.Of = text.Of
	for name, node := range text.Items {
		p := s.Of
		if node.Value != always {
			if err := p.UnmarshalYAML(&node); err != nil {
				return err
			}
		}
		if p.Calls > s.Of.Calls || p.Runs > s.Of.Runs {
			return fmt.Errorf("line %d: %q is in more calls than there were", node.Line, name)
		}
		if s.Items == nil {
			s.Items = map[string]Presence{}
		}
		s.Items[name] = p
	}
	return nil
}

// Numbers are written with four digits that matter.
type Numbers []float64

// MarshalYAML writes them.
func (x Numbers) MarshalYAML() (any, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, v := range x {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: shortNumber(v)})
	}
	return n, nil
}

func shortNumber(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		rounded = v
	}
	return strconv.FormatFloat(rounded, 'f', -1, 64)
}
