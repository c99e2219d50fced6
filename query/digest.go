package query

import (
	"fmt"
	"math"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// maxExact is how many values a digest keeps as they are. Beyond it, a sketch tells percentiles within relativeError.
const (
	maxExact      = 1 << 16
	relativeError = 0.01
)

// digest tells percentiles of latencies. The same values in any order give the same answer. The zero value is ready.
type digest struct {
	values []int64 // nanoseconds
	sketch *ddsketch.DDSketch
	n      int
	sum    float64
	max    int64
}

func (d *digest) add(v int64) {
	d.n++
	d.sum += float64(v)
	d.max = max(d.max, v)
	if d.sketch != nil {
		d.count(v)
		return
	}
	d.values = append(d.values, v)
	if len(d.values) > maxExact {
		d.condense()
	}
}

// condense turns the values into a sketch.
func (d *digest) condense() {
	if d.sketch == nil {
		d.sketch = newSketch()
	}
	for _, v := range d.values {
		d.count(v)
	}
	d.values = nil
}

func newSketch() *ddsketch.DDSketch {
	m, err := mapping.NewCubicallyInterpolatedMapping(relativeError)
	if err != nil {
		panic(fmt.Sprintf("a relative error of %v is one: %v", relativeError, err)) // a constant of ours
	}
	return ddsketch.NewDDSketch(m, store.NewDenseStore(), store.NewDenseStore())
}

// count adds to the sketch, which refuses only what is no number.
func (d *digest) count(v int64) { _ = d.sketch.Add(float64(v)) }

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
		_ = d.sketch.MergeWith(o.sketch) // of the same mapping
	}
	for _, v := range o.values {
		d.count(v)
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
			out[i] = nth(d.values[from:], rank-from)
			from = rank
			continue
		}
		v, err := d.sketch.GetValueAtQuantile(float64(rank) / float64(max(1, d.n-1)))
		if err == nil {
			out[i] = min(int64(math.Round(v)), d.max)
		}
	}
	return out
}

// approximate says how far percentiles can be off, and nothing where they are exact.
func (d *digest) approximate() string {
	if d.sketch == nil {
		return ""
	}
	return fmt.Sprintf("percentiles are within %v %% of the value: %d values were condensed (DDSketch)", relativeError*100, d.n)
}

// nth is what would stand at place k if the values were sorted; smaller ones then stand before it, larger ones behind. Quickselect
// with the median of three.
func nth(v []int64, k int) int64 {
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
