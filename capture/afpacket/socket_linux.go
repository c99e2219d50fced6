package afpacket

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/traffic"
)

// socket is an AF_PACKET socket with its TPACKET_V3 ring: blocks that the kernel fills one after the other and hands over
// whole. Documentation/networking/packet_mmap.rst, include/uapi/linux/if_packet.h.
type socket struct {
	fd    int
	mem   []byte
	block int // size
	at    int // offset of the next block to read
	use   sync.Mutex
}

// openSocket opens a socket in a network namespace, the own one when netns is empty. A socket stays in the namespace it
// was made in, so only making it needs a thread there.
func openSocket(netns string, o Options) (*socket, error) {
	type result struct {
		s   *socket
		err error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: a thread that was elsewhere ends with its goroutine
		if err := enter(netns); err != nil {
			done <- result{nil, err}
			return
		}
		s, err := newSocket(o)
		done <- result{s, err}
	}()
	r := <-done
	return r.s, r.err
}

func enter(netns string) error {
	if netns == "" {
		return nil
	}
	fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", netns, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter %s: %w", netns, err)
	}
	return nil
}

// newSocket makes a cooked socket for all interfaces of the thread's namespace. The ring is there before the socket is
// bound, so that nothing is queued outside of it.
func newSocket(o Options) (_ *socket, err error) {
	s := &socket{block: o.BlockSize}
	if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("make an AF_PACKET socket: %w", err)
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := unix.SetsockoptInt(s.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return nil, fmt.Errorf("choose TPACKET_V3: %w", err)
	}
	const frame = 2048 // counts for the kernel's arithmetic only
	req := unix.TpacketReq3{
		Block_size: uint32(o.BlockSize), Block_nr: uint32(o.Blocks),
		Frame_size: frame, Frame_nr: uint32(o.BlockSize / frame * o.Blocks),
		Retire_blk_tov: uint32(retire / time.Millisecond),
	}
	if err := unix.SetsockoptTpacketReq3(s.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return nil, fmt.Errorf("make a packet ring: %w", err)
	}
	if s.mem, err = unix.Mmap(s.fd, 0, o.BlockSize*o.Blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("map the packet ring: %w", err)
	}
	all := uint16(unix.ETH_P_ALL)
	if err := unix.Bind(s.fd, &unix.SockaddrLinklayer{Protocol: all<<8 | all>>8}); err != nil {
		return nil, fmt.Errorf("bind the packet socket: %w", err)
	}
	return s, nil
}

// Offsets in struct tpacket_block_desc, struct tpacket3_hdr and the struct sockaddr_ll that follows it.
const (
	blockStatus  = 8
	blockPackets = 12
	blockFirst   = 16

	packetNext     = 0
	packetSeconds  = 4
	packetNanos    = 8
	packetCaptured = 12
	packetLength   = 16
	packetData     = 24
	packetProtocol = 48 + 2
	packetKind     = 48 + 10
)

// read emits the packets of all blocks that the kernel handed over, gives the blocks back, and counts.
func (s *socket) read(p *traffic.Packet, emit func(*traffic.Packet)) (n uint64) {
	if s.mem == nil {
		return 0
	}
	order := binary.NativeEndian
	for range len(s.mem) / s.block { // one round at most: other sockets wait
		block := s.mem[s.at : s.at+s.block]
		status := (*atomic.Uint32)(unsafe.Pointer(&block[blockStatus]))
		if status.Load()&unix.TP_STATUS_USER == 0 {
			return n
		}
		at := order.Uint32(block[blockFirst:])
		for range order.Uint32(block[blockPackets:]) {
			head := block[at:]
			at += order.Uint32(head[packetNext:])
			protocol := binary.BigEndian.Uint16(head[packetProtocol:])
			if protocol != unix.ETH_P_IP && protocol != unix.ETH_P_IPV6 {
				continue
			}
			data, size := int(order.Uint16(head[packetData:])), int(order.Uint32(head[packetCaptured:]))
			p.Time = int64(order.Uint32(head[packetSeconds:]))*1e9 + int64(order.Uint32(head[packetNanos:]))
			p.Length = int(order.Uint32(head[packetLength:]))
			p.Data = head[data : data+size : data+size]
			p.Direction = traffic.DirectionIn
			if head[packetKind] == unix.PACKET_OUTGOING {
				p.Direction = traffic.DirectionOut
			}
			n++
			emit(p)
		}
		status.Store(unix.TP_STATUS_KERNEL)
		s.at = (s.at + s.block) % len(s.mem)
	}
	return n
}

func (s *socket) close() {
	s.use.Lock()
	defer s.use.Unlock()
	if s.mem != nil {
		unix.Munmap(s.mem)
		s.mem = nil
	}
	unix.Close(s.fd)
}
