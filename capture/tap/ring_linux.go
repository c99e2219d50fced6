package tap

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ring reads a BPF ring buffer where it lies, without copying records out of it: what the kernel wrote goes straight
// into the recorder. It follows kernel/bpf/ringbuf.c and tools/lib/bpf/ringbuf.c.
//
//	page 0        how far the consumer got (writable)
//	page 1        how far the producers got
//	page 2 …      the data, mapped twice in a row, so that a record never wraps
type ring struct {
	consumer, rest []byte
	data           []byte
	consumed       *atomic.Uint64
	produced       *atomic.Uint64
	mask           uint64
	at             uint64 // how far next got; release publishes it
	seen           uint64 // produced, when last looked at: the producers' page moves between processors
}

// The header of a record: length and flags 4 | page offset 4.
const (
	recordHeader = 8
	flagBusy     = 1 << 31
	flagDiscard  = 1 << 30
)

func openRing(m *ebpf.Map) (*ring, error) {
	page, size := os.Getpagesize(), int(m.MaxEntries())
	consumer, err := unix.Mmap(m.FD(), 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map ring buffer's consumer page: %w", err)
	}
	rest, err := unix.Mmap(m.FD(), int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		unix.Munmap(consumer)
		return nil, fmt.Errorf("map ring buffer: %w", err)
	}
	r := &ring{consumer: consumer, rest: rest, data: rest[page:], mask: uint64(size - 1)}
	r.consumed = (*atomic.Uint64)(unsafe.Pointer(&consumer[0]))
	r.produced = (*atomic.Uint64)(unsafe.Pointer(&rest[0]))
	r.at = r.consumed.Load()
	return r, nil
}

// next is the next record that a producer finished, or nil. It stays valid until release.
func (r *ring) next() []byte {
	for {
		if r.at >= r.seen {
			if r.seen = r.produced.Load(); r.at >= r.seen {
				return nil
			}
		}
		head := r.data[r.at&r.mask:]
		length := (*atomic.Uint32)(unsafe.Pointer(&head[0])).Load()
		if length&flagBusy != 0 {
			return nil
		}
		size := uint64(length &^ (flagBusy | flagDiscard))
		r.at += (recordHeader + size + 7) &^ 7
		if length&flagDiscard == 0 {
			return head[recordHeader : recordHeader+size : recordHeader+size]
		}
	}
}

// release gives everything that next handed out back to the producers.
func (r *ring) release() { r.consumed.Store(r.at) }

// waiting is how many bytes the producers wrote that were not released.
func (r *ring) waiting() uint64 { return r.produced.Load() - r.consumed.Load() }

func (r *ring) close() error {
	if err := unix.Munmap(r.rest); err != nil {
		return err
	}
	return unix.Munmap(r.consumer)
}
