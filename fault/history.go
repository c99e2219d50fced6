package fault

import (
	"fmt"
	"slices"
	"time"
)

// History gives an environment's faults their IDs, and remembers the last [KeepEnded] of those that ended. Whoever has it locks it.
type History struct {
	begun int
	ended []Fault
}

// Begin gives a fault its ID and its times.
func (h *History) Begin(f *Fault, lasts time.Duration) {
	h.begun++
	f.ID, f.Began = fmt.Sprintf("f%d", h.begun), time.Now()
	f.Until = f.Began.Add(lasts)
}

// End notes the faults that end now, and returns them in the order in which they began.
func (h *History) End(faults []Fault) []Fault {
	now := time.Now()
	for i := range faults {
		faults[i].Ended = now
	}
	slices.SortFunc(faults, byBeginning)
	h.ended = append(h.ended, faults...)
	h.ended = slices.Clone(h.ended[max(0, len(h.ended)-KeepEnded):])
	return faults
}

// Absent is nil for a fault that has ended, and else the error for one that is not there.
func (h *History) Absent(id string) error {
	if slices.ContainsFunc(h.ended, func(f Fault) bool { return f.ID == id }) {
		return nil
	}
	return fmt.Errorf("there is no fault %q", id)
}

// Since are those that are there and those that ended since a time, in the order in which they began.
func (h *History) Since(t time.Time, there []Fault) []Fault {
	for _, f := range h.ended {
		if !f.Ended.Before(t) {
			there = append(there, f)
		}
	}
	slices.SortFunc(there, byBeginning)
	return there
}

func byBeginning(a, b Fault) int { return a.Began.Compare(b.Began) }
