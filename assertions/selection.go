package assertions

import (
	"fmt"
	"math"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// selection is the rows that a check, or one group of it, speaks of.
type selection struct {
	rows       []filter.Row // by start, then ID
	unit       string       // calls, connections
	calls      []*traffic.Call
	start, end int64 // of the window, Unix nanoseconds; 0 is unbounded
	hidden     bool  // capture was incomplete where the check looks: any number of further rows may exist
	confidence float64
	baseline   BaselineFile
	contracts  *contracts
	activation *filter.Activation
	cells      map[*rowExpression][]cell
}

// rowExpression is an aggregate's argument, evaluated once per row.
type rowExpression struct {
	text     string
	typ      *cel.Type
	program  cel.Program
	optional []string // fields that it reads and that rows may lack
}

// cell is the value of a row expression on one row.
type cell struct {
	value ref.Val
	state cellState
}

type cellState uint8

const (
	known   cellState = iota
	unknown           // it asks for the response of a call that has none, or for a request that was not captured (rule 1)
	absent            // it asks for a field that the row does not have (rule 3)
)

// column evaluates a row expression on every row.
func (s *selection) column(e *rowExpression) ([]cell, error) {
	if done, ok := s.cells[e]; ok {
		return done, nil
	}
	column := make([]cell, len(s.rows))
	for i := range s.rows {
		s.activation.Reset(&s.rows[i], filter.ModeExpect)
		out, _, err := e.program.Eval(s.activation)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s on %s: %w", e.text, describeRow(&s.rows[i]), err)
		}
		column[i] = cell{value: out}
		if types.IsUnknown(out) {
			column[i].state = absent
			if len(s.activation.Unanswered()) > 0 {
				column[i].state = unknown
			}
		}
	}
	if s.cells == nil {
		s.cells = map[*rowExpression][]cell{}
	}
	s.cells[e] = column
	return column, nil
}

// split sorts the rows by the truth of a predicate. Rows that lack the field are in none of the lists.
func (s *selection) split(e *rowExpression) (yes, no, open, lacking []int, err error) {
	column, err := s.column(e)
	for i, c := range column {
		switch {
		case c.state == unknown:
			open = append(open, i)
		case c.state == absent:
			lacking = append(lacking, i)
		case c.value == types.True:
			yes = append(yes, i)
		default:
			no = append(no, i)
		}
	}
	return yes, no, open, lacking, err
}

// numbers reads a column as samples, leaving out rows that lack the field.
func (s *selection) numbers(e *rowExpression) (all []sample, lacking int, open []int, err error) {
	column, err := s.column(e)
	for i, c := range column {
		switch c.state {
		case absent:
			lacking++
		case unknown:
			open = append(open, i)
			all = append(all, sample{math.NaN(), s.waited(e, i), math.Inf(1), []int{i}})
		default:
			v := constant(c.value)
			if v == nil {
				return nil, 0, nil, fmt.Errorf("evaluate %s on %s: not a number", e.text, describeRow(&s.rows[i]))
			}
			all = append(all, sample{v.value, v.value, v.value, []int{i}})
		}
	}
	return all, lacking, open, err
}

// waited is the least that an unknown value can be: a call whose wait ended without an answer took at least that long.
func (s *selection) waited(e *rowExpression, i int) float64 {
	c := s.rows[i].Call
	if c == nil || c.State == traffic.StateOpen {
		return math.Inf(-1)
	}
	took := max(0, c.End-c.Start) // the clock may have been set back meanwhile
	switch e.text {
	case "latency":
		return float64(took)
	case "latency_ms":
		return float64(took) / 1e6
	case "elapsed_time":
		return math.Floor(float64(took) / 1e3)
	}
	return math.Inf(-1)
}

// everyRow is the indices of all rows.
func (s *selection) everyRow() []int {
	all := make([]int, len(s.rows))
	for i := range all {
		all[i] = i
	}
	return all
}

// begins and ends are the times of a row.
func (s *selection) begins(i int) int64 {
	if c := s.rows[i].Call; c != nil {
		return c.Start
	}
	return s.rows[i].Conn.Start
}

func (s *selection) ends(i int) int64 {
	if c := s.rows[i].Call; c != nil {
		if c.State == traffic.StateOpen {
			return math.MaxInt64
		}
		return max(c.End, c.Start)
	}
	return s.rows[i].Conn.End
}

// quantity is "1 call", "300 calls", "2 calls and connections".
func (s *selection) quantity(n int) string {
	if n == 1 {
		return "1 " + strings.TrimSuffix(s.unit, "s")
	}
	return fmt.Sprintf("%d %s", n, s.unit)
}
