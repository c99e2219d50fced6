package protobuf

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits of what is guessed.
const (
	maxDepth  = 16
	maxFields = 1000 // of one message
	maxBytes  = 256  // of bytes that are no text
)

// Wire renders a message without its descriptor: an object whose keys are the numbers of the fields, in their order. Repeated
// fields are lists. It is nil for what is no message, and for what would take more than room bytes.
func Wire(b []byte, room int) []byte {
	out, ok := appendWire(make([]byte, 0, min(2*len(b)+16, room)), b, room)
	if !ok {
		return nil
	}
	return out
}

// appendWire appends what [Wire] returns; ok is false where that is nil.
func appendWire(out, b []byte, room int) (_ []byte, ok bool) {
	m, ok := parse(b, 0)
	if !ok {
		return out, false
	}
	w := writer{out: out, room: len(out) + room}
	w.message(m)
	return w.out, !w.full
}

// value is what one occurrence of a field holds.
type value struct {
	number protowire.Number
	kind   protowire.Type
	plain  bool // bytes that are their own JSON
	deep   bool
	bits   uint64
	bytes  []byte
	group  []value // of a group, or of bytes that are a message
}

// parse reads a whole message. The values come in order of their fields' numbers.
func parse(b []byte, depth int) (values []value, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	sorted := true
	for n := 0; len(b) > 0; n++ {
		number, kind, size := protowire.ConsumeTag(b)
		if size < 0 || n >= maxFields {
			return nil, false
		}
		b = b[size:]
		sorted = sorted && (n == 0 || values[n-1].number <= number)
		v := value{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			v.bits, size = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var x uint32
			x, size = protowire.ConsumeFixed32(b)
			v.bits = uint64(x)
		case protowire.Fixed64Type:
			v.bits, size = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.bytes, size = protowire.ConsumeBytes(b)
			if v.plain = isPlain(v.bytes); size >= 0 && !v.plain && !isText(v.bytes) {
				v.group, v.deep = parse(v.bytes, depth+1)
			}
		case protowire.StartGroupType:
			var inner []byte
			if inner, size = protowire.ConsumeGroup(number, b); size >= 0 {
				if v.group, v.deep = parse(inner, depth+1); !v.deep {
					return nil, false
				}
			}
		default:
			return nil, false
		}
		if size < 0 {
			return nil, false
		}
		b = b[size:]
		values = append(values, v)
	}
	if !sorted {
		slices.SortStableFunc(values, func(a, b value) int { return cmp.Compare(a.number, b.number) })
	}
	return values, true
}

// isText reports whether bytes are meant to be read. A message of texts is text but for the lengths and numbers between
// them, which are control characters as long as they are small.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && (c != '\n' && c != '\r' && c != '\t' || looksDeep(b)) {
			return false
		}
	}
	return utf8.Valid(b)
}

// looksDeep reports whether text that has line ends or tabs is a message, too.
func looksDeep(b []byte) bool {
	for n := 0; len(b) > 0; n++ {
		number, kind, size := protowire.ConsumeField(b)
		if size < 0 || number > 100 || kind == protowire.StartGroupType || n >= maxFields {
			return false
		}
		b = b[size:]
	}
	return true
}

// writer writes JSON until there are room bytes.
type writer struct {
	out  []byte
	room int
	full bool
}

func (w *writer) put(s string) {
	if len(w.out)+len(s) > w.room {
		w.full = true
		return
	}
	w.out = append(w.out, s...)
}

func (w *writer) message(values []value) {
	w.put("{")
	for i := 0; i < len(values) && !w.full; {
		if i > 0 {
			w.put(",")
		}
		number := values[i].number
		w.put(`"`)
		w.put(strconv.Itoa(int(number)))
		w.put(`":`)
		end := i + 1
		for end < len(values) && values[end].number == number {
			end++
		}
		if end == i+1 {
			w.value(&values[i])
			i = end
			continue
		}
		w.put("[")
		for k := i; k < end; k++ {
			if k > i {
				w.put(",")
			}
			w.value(&values[k])
		}
		w.put("]")
		i = end
	}
	w.put("}")
}

func (w *writer) value(v *value) {
	switch {
	case v.deep:
		w.message(v.group)
	case v.plain:
		if len(w.out)+len(v.bytes)+2 > w.room {
			w.full = true
			return
		}
		w.out = append(append(append(w.out, '"'), v.bytes...), '"')
	case v.kind == protowire.BytesType && utf8.Valid(v.bytes):
		w.text(string(v.bytes))
	case v.kind == protowire.BytesType:
		w.text("base64:" + base64.StdEncoding.EncodeToString(v.bytes[:min(len(v.bytes), maxBytes)]))
	case v.kind == protowire.Fixed32Type:
		w.fixed(v.bits, float64(math.Float32frombits(uint32(v.bits))), 32)
	case v.kind == protowire.Fixed64Type:
		w.fixed(v.bits, math.Float64frombits(v.bits), 64)
	default:
		w.integer(v.bits)
	}
}

// isPlain reports whether encoding/json would write a text as it is, between quotes.
func isPlain(b []byte) bool {
	for _, c := range b {
		if !plainByte[c] {
			return false
		}
	}
	return true
}

var plainByte = func() (t [256]bool) {
	for c := ' '; c <= '~'; c++ {
		t[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return t
}()

func (w *writer) text(s string) {
	b, err := json.Marshal(s)
	if err != nil { // which a string never causes
		b = []byte(`""`)
	}
	w.put(string(b))
}

// integer writes numbers that JSON's readers would round as text, as protobuf's own JSON does. Those with the highest bit are
// negative ones.
func (w *writer) integer(n uint64) {
	switch {
	case n < 1<<53:
		w.put(strconv.FormatUint(n, 10))
	case int64(n) < 0 && int64(n) > -1<<53:
		w.put(strconv.FormatInt(int64(n), 10))
	default:
		w.put(`"` + strconv.FormatUint(n, 10) + `"`)
	}
}

// fixed writes a fraction where that is what the bits most likely are.
func (w *writer) fixed(n uint64, f float64, size int) {
	if a := math.Abs(f); n == 0 || a >= 1e-6 && a <= 1e12 {
		w.put(strconv.FormatFloat(f, 'g', -1, size))
		return
	}
	w.integer(n)
}
