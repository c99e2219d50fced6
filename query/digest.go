package query

import (
	"fmt"
	"math"
	"slices"
)

// maxExact is how many values a digest keeps as they are. Beyond it, a sketch tells percentiles within relativeError.
const (
	maxExact      = 1 << 16
	relativeError = 0.004
)

// digest tells percentiles of latencies. The same values in any order give the same answer. The zero value is ready.
type digest struct {
	values []uint32 // whole microseconds: no answer tells more of a percentile
	sketch *histogram
	n      int
	sum    float64
	max    int64
}

// expect makes room for n values, as far as they are kept as they are.
func (d *digest) expect(n int) {
	if d.sketch == nil && n <= maxExact {
		d.values = slices.Grow(d.values, n)
	}
}

func (d *digest) add(v int64) {
	d.n++
	d.sum += float64(v)
	d.max = max(d.max, v)
	if d.sketch == nil && v/1000 <= math.MaxUint32 && len(d.values) < maxExact {
		d.values = append(d.values, uint32(v/1000))
		return
	}
	d.condense()
	d.sketch.add(v/1000, 1)
}

// condense turns the values into a sketch.
func (d *digest) condense() {
	if d.sketch == nil {
		d.sketch = &histogram{}
	}
	for _, v := range d.values {
		d.sketch.add(int64(v), 1)
	}
	d.values = nil
}

// histogram counts microseconds in intervals of the same relative width: 128 between a power of two and the next.
type histogram struct {
	first  int // interval of counts[0]
	counts []int
}

// narrow is by how many bits of a floating point number's fraction intervals are told apart.
const narrow = 7

// add counts a value, which is not negative, n times more.
func (h *histogram) add(v int64, n int) {
	i := int(math.Float64bits(float64(max(1, v))) >> (52 - narrow))
	switch {
	case len(h.counts) == 0:
		h.first, h.counts = i, make([]int, 1)
	case i < h.first:
		h.counts = append(make([]int, h.first-i), h.counts...)
		h.first = i
	}
	for len(h.counts) <= i-h.first {
		h.counts = append(h.counts, 0)
	}
	h.counts[i-h.first] += n
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		if n > 0 {
			h.add(intervalMiddle(o.first+i), n)
		}
	}
}

// intervalMiddle is the value in the middle of an interval.
func intervalMiddle(i int) int64 {
	return int64(math.Float64frombits(uint64(i)<<(52-narrow) | 1<<(51-narrow)))
}

// at is the value with so many before it.
func (h *histogram) at(rank int) int64 {
	for i, n := range h.counts {
		if rank < n {
			return intervalMiddle(h.first + i)
		}
		rank -= n
	}
	return 0
}

// merge adds what another digest holds, which stays as it is.
func (d *digest) merge(o *digest) {
	d.n += o.n
	d.sum += o.sum
	d.max = max(d.max, o.max)
	if d.sketch == nil && o.sketch == nil && len(d.values)+len(o.values) <= maxExact {
		d.values = append(d.values, o.values...)
		return
	}
	d.condense()
	if o.sketch != nil {
		d.sketch.merge(o.sketch)
	}
	for _, v := range o.values {
		d.sketch.add(int64(v), 1)
	}
}

// at are the values at some percentiles, which ascend, by the nearest rank. It changes the order of the values.
func (d *digest) at(percents ...int) []int64 {
	out := make([]int64, len(percents))
	if d.n == 0 {
		return out
	}
	from := 0
	for i, p := range percents {
		rank := max(0, (d.n*p+99)/100-1)
		if d.sketch == nil {
			out[i] = int64(nth(d.values[from:], rank-from)) * 1000
			from = rank
			continue
		}
		out[i] = min(d.sketch.at(rank)*1000, d.max/1000*1000)
	}
	return out
}

// approximate says how far percentiles can be off, and nothing where they are exact.
func (d *digest) approximate() string {
	if d.sketch == nil {
		return ""
	}
	return fmt.Sprintf("percentiles are within %v %% of the value: %d values were condensed", relativeError*100, d.n)
}

// nth is what would stand at place k if the values were sorted; smaller ones then stand before it, larger ones behind. Quickselect
// with the median of three.
func nth(v []uint32, k int) uint32 {
	low, high := 0, len(v)-1
	for low < high {
		mid := low + (high-low)/2
		if v[mid] < v[low] {
			v[mid], v[low] = v[low], v[mid]
		}
		if v[high] < v[low] {
			v[high], v[low] = v[low], v[high]
		}
		if v[high] < v[mid] {
			v[high], v[mid] = v[mid], v[high]
		}
		pivot := v[mid]
		i, j := low, high
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return v[k]
		}
	}
	return v[k]
}
