package afpacket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// Source captures with AF_PACKET sockets.
type Source struct {
	o       Options
	epoll   int
	event   int // eventfd that wakes Run
	flushes chan flush
	ended   atomic.Bool

	mu     sync.Mutex
	points []*point
	closed bool
}

// point is one namespace's socket.
type point struct {
	ifc     traffic.Interface
	netns   string
	socket  *socket // nil once it is removed
	packets uint64
	dropped uint64
}

// flush asks Run to say when it emitted everything up to a time.
type flush struct {
	upTo time.Time
	done chan struct{}
}

// Open opens a socket in the namespace of each target.
func Open(o Options) (*Source, error) {
	o.defaults()
	s := &Source{o: o, flushes: make(chan flush, 16)}
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	if s.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(s.epoll)
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	err = s.watch(s.event)
	for _, t := range o.Targets {
		err = errors.Join(err, s.Add(t))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Source) watch(fd int) error {
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("add to epoll: %w", err)
	}
	return nil
}

// Add begins to capture in a target's namespace, also while Run is running.
func (s *Source) Add(t capture.Target) error {
	sock, err := openSocket(t.NetNS, s.o)
	if err != nil {
		return fmt.Errorf("capture in the network namespace of %s: %w", t.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		sock.close()
		return errors.New("add a target: the source is closed")
	}
	if err := s.watch(sock.fd); err != nil {
		sock.close()
		return err
	}
	s.points = append(s.points, &point{ifc: t.Interface(len(s.points), traffic.LinkRaw), netns: t.NetNS, socket: sock})
	return nil
}

// Remove ends the capture in a namespace. Its interface and counts stay.
func (s *Source) Remove(netns string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.points {
		if p.netns == netns && p.socket != nil {
			p.count()
			p.socket.close()
			p.socket = nil
		}
	}
}

// Name is "afpacket".
func (*Source) Name() string { return "afpacket" }

// Run delivers packets until ctx ends. It can be called once. Add and Remove wait while a batch is delivered.
func (s *Source) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	defer s.ended.Store(true)
	stop := context.AfterFunc(ctx, s.wake)
	defer stop()
	var waiting []flush
	var p traffic.Packet
	for {
		now := time.Now()
		s.drain(&p, emit)
		var rest []flush
		for _, f := range waiting {
			if now.After(f.upTo) {
				close(f.done)
			} else {
				rest = append(rest, f)
			}
		}
		waiting = rest
		select {
		case f := <-s.flushes:
			waiting = append(waiting, f)
			continue
		default:
		}
		if ctx.Err() != nil {
			return nil
		}
		timeout := 100 * time.Millisecond
		if len(waiting) > 0 {
			timeout = retire
		}
		if err := s.sleep(timeout); err != nil {
			return fmt.Errorf("wait for packets: %w", err)
		}
	}
}

func (s *Source) sleep(timeout time.Duration) error {
	var events [8]unix.EpollEvent
	n, err := unix.EpollWait(s.epoll, events[:], int(timeout/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return err
	}
	for i := range max(n, 0) {
		if int(events[i].Fd) == s.event {
			var b [8]byte
			unix.Read(s.event, b[:])
		}
	}
	return nil
}

func (s *Source) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], 1)
		unix.Write(s.event, b[:])
	}
}

// drain emits what is in the rings. The list of points is copied so that emit may ask for Interfaces.
func (s *Source) drain(p *traffic.Packet, emit func(*traffic.Packet)) {
	for i := 0; ; i++ {
		s.mu.Lock()
		if i >= len(s.points) {
			s.mu.Unlock()
			return
		}
		pt := s.points[i]
		sock := pt.socket
		if sock != nil {
			sock.use.Lock() // before Remove may close it
		}
		s.mu.Unlock()
		if sock == nil {
			continue
		}
		*p = traffic.Packet{Interface: pt.ifc.Index, Link: traffic.LinkRaw}
		n := sock.read(p, emit)
		sock.use.Unlock()
		s.mu.Lock()
		pt.packets += n
		s.mu.Unlock()
	}
}

// Flush returns when everything that was captured before the call was emitted: the kernel holds a block back for a while
// when it is not full.
func (s *Source) Flush(ctx context.Context) error {
	if s.ended.Load() {
		return errors.New("flush capture: it does not run any more")
	}
	f := flush{upTo: time.Now().Add(3 * retire), done: make(chan struct{})}
	select {
	case s.flushes <- f:
	case <-ctx.Done():
		return fmt.Errorf("flush capture: %w", ctx.Err())
	}
	s.wake()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush capture: %w", ctx.Err())
	}
}

// Interfaces lists the namespaces that were added, also those removed since.
func (s *Source) Interfaces() []traffic.Interface {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]traffic.Interface, len(s.points))
	for i, p := range s.points {
		list[i] = p.ifc
		list[i].Packets, list[i].Dropped = p.packets, p.dropped
	}
	return list
}

// Stats says what was delivered and what the rings had no room for, by namespace.
func (s *Source) Stats() capture.Stats {
	s.mu.Lock()
	for _, p := range s.points {
		p.count()
	}
	s.mu.Unlock()
	st := capture.Stats{Interfaces: s.Interfaces()}
	for i := range st.Interfaces {
		st.Received += st.Interfaces[i].Packets
		st.Dropped += st.Interfaces[i].Dropped
	}
	return st
}

// count adds what the kernel dropped since it was last asked: asking resets its counter.
func (p *point) count() {
	if p.socket == nil {
		return
	}
	if st, err := unix.GetsockoptTpacketStatsV3(p.socket.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		p.dropped += uint64(st.Drops)
	}
}

// Close closes all sockets. Call it after Run returned.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	for _, p := range s.points {
		if p.socket != nil {
			p.socket.close()
			p.socket = nil
		}
	}
	return errors.Join(unix.Close(s.event), unix.Close(s.epoll))
}
