package query

import (
	"fmt"
	"sync"

	"github.com/devloop-io/devloop/filter"
)

// maxFilters bounds the filters that are named at a time; the oldest gives way.
const maxFilters = 100

// Filters are the filters of a session that were given a name. The zero value is ready; it may be used by many goroutines.
type Filters struct {
	mu   sync.Mutex
	last int
	ids  []string
	kfl  map[string]string
}

// ApplyFilter names a filter, so that other questions can be narrowed by it.
func (f *Filters) ApplyFilter(r FilterRequest) (*FilterAnswer, error) {
	c, err := filter.Compile(r.KFL)
	if err != nil {
		return nil, &Error{What: err.Error(), Hint: "devloop kfl explain '…' shows how a filter is read"}
	}
	a := &FilterAnswer{KFL: c.Rewritten(), Selects: c.Kind().String(), Warnings: c.Warnings()}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range f.ids {
		if f.kfl[id] == r.KFL {
			a.FilterID = id
			return a, nil
		}
	}
	if f.kfl == nil {
		f.kfl = map[string]string{}
	}
	if len(f.ids) == maxFilters {
		delete(f.kfl, f.ids[0])
		f.ids = f.ids[1:]
	}
	f.last++
	a.FilterID = fmt.Sprintf("f%d", f.last)
	f.ids = append(f.ids, a.FilterID)
	f.kfl[a.FilterID] = r.KFL
	return a, nil
}

// text is the filter of a name. Nil filters have none.
func (f *Filters) text(id string) (string, bool) {
	if f == nil {
		return "", false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.kfl[id]
	return text, ok
}

// Narrow puts the filter that a selection names into its text.
func (f *Filters) Narrow(s *Selection) error {
	if s.FilterID == "" {
		return nil
	}
	text, ok := f.text(s.FilterID)
	if !ok {
		return mistake("apply_filter names a filter; the last 100 are kept while the daemon runs", "there is no filter %q", cut(s.FilterID, 60))
	}
	s.FilterID = ""
	both := text
	switch first, err := filter.Compile(s.KFL); {
	case err != nil:
		return &Error{What: err.Error(), Hint: "devloop kfl explain '…' shows how a filter is read"}
	case first.Checked() == nil:
	default:
		named, err := filter.Compile(text)
		if err != nil {
			return err
		}
		both = s.KFL
		if named.Checked() != nil {
			both = "(" + first.Rewritten() + ") && (" + named.Rewritten() + ")"
		}
	}
	s.KFL = both
	return nil
}
