package query

import (
	"math/rand/v2"
	"slices"
)

// maxSample bounds how many values a sample keeps.
const maxSample = 20_000

// sample keeps some values of many, each with the same chance; all while there are few. The zero value is ready. The same
// values in the same order give the same sample.
type sample struct {
	n      int
	values []int64
	random *rand.Rand
	sorted bool
}

func (s *sample) add(v int64) {
	s.n++
	s.sorted = false
	if len(s.values) < maxSample {
		s.values = append(s.values, v)
		return
	}
	if s.random == nil {
		s.random = rand.New(rand.NewPCG(1, 2))
	}
	if i := s.random.IntN(s.n); i < maxSample { // Vitter's algorithm R
		s.values[i] = v
	}
}

// partial reports whether it lacks some of the values.
func (s *sample) partial() bool { return s.n > len(s.values) }

// inOrder are the values, smallest first.
func (s *sample) inOrder() []int64 {
	if !s.sorted {
		slices.Sort(s.values)
		s.sorted = true
	}
	return s.values
}

// at is the value at a percentile by the nearest rank, 0 where there is none.
func (s *sample) at(percent int) int64 {
	v := s.inOrder()
	if len(v) == 0 {
		return 0
	}
	return v[max(0, (len(v)*percent+99)/100-1)]
}

// msAt is at in milliseconds, for nanoseconds.
func (s *sample) msAt(percent int) float64 { return ms(s.at(percent)) }

// usAt is at in whole microseconds, for nanoseconds.
func (s *sample) usAt(percent int) int64 { return s.at(percent) / 1000 }

// ms rounds nanoseconds to thousandths of a millisecond.
func ms(ns int64) float64 { return float64(ns/1e3) / 1e3 }
