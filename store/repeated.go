package store

import "hash/maphash"

// repeatedBodies makes bodies that come again and again the same bytes in memory, which whoever reads them later recognises by their address. It
// takes some MB at most: a body moves in when it comes for the second time, and may push another out. What it handed out is never
// written to.
type repeatedBodies struct {
	seed  maphash.Seed
	marks []uint32 // hash of the body that came last
	kept  [][]byte
	total int // bytes of the kept ones
}

const (
	bodyMarks = 8 << 10
	bodySlots = 1 << 10
	bodyTotal = 4 << 20
	bodyLeast = 128      // shorter ones are read as fast
	bodyMost  = 64 << 10 //
)

func newRepeatedBodies() *repeatedBodies {
	return &repeatedBodies{seed: maphash.MakeSeed(), marks: make([]uint32, bodyMarks), kept: make([][]byte, bodySlots)}
}

// same is a body that says the same as b, be it b.
func (x *repeatedBodies) same(b []byte) []byte {
	if len(b) < bodyLeast || len(b) > bodyMost {
		return b
	}
	h := maphash.Bytes(x.seed, b)
	slot := &x.kept[h%bodySlots]
	if string(*slot) == string(b) {
		return *slot
	}
	mark := &x.marks[h/bodySlots%bodyMarks]
	if again := *mark == uint32(h>>32); !again || x.total+len(b)-len(*slot) > bodyTotal {
		*mark = uint32(h >> 32)
		return b
	}
	x.total += len(b) - len(*slot)
	*slot = append(make([]byte, 0, len(b)), b...)
	return *slot
}
