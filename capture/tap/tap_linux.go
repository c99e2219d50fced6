//go:build amd64 || arm64

package tap

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// Tap is a source that captures at sockets. The programs run from [Open] to [Tap.Close]; the ring holds what they record
// until [Tap.Run] reads it.
type Tap struct {
	o        Options
	objects  *ebpf.Collection
	links    []link.Link // kept: a link that is collected is detached
	ring     *ring
	shared   []byte // page of the program's variables
	asleepAt uint32
	asleep   *atomic.Uint32 // in shared
	poll     *os.File       // an epoll of the ring and the event, itself waited for by Go's poller
	pollConn syscall.RawConn
	event    int // eventfd that wakes Run, under wakeMu
	wakeMu   sync.Mutex
	offset   int64 // wall clock minus the kernel's monotonic clock

	flushes chan flush
	started atomic.Bool
	ended   atomic.Bool

	choosing sync.Mutex
	chosen   struct {
		cgroups    map[uint64]Choice
		ports      map[uint16]uint8
		generation uint32
	}

	mu       sync.Mutex
	points   []*point
	byCGroup map[uint64]*point
	lost     map[programLostKey]lostCount
}

// point is one cgroup's capture point.
type point struct {
	ifc     traffic.Interface
	packets atomic.Uint64
}

// lostCount is a flow's losses: the kernel's count, which begins anew when the kernel forgot the flow, and the sum.
type lostCount struct{ last, sum uint64 }

// flush asks Run to say when it emitted everything up to a place in the ring.
type flush struct {
	upTo uint64
	done chan struct{}
}

// Open loads the programs and attaches them to the cgroup. From then on packets are recorded.
func Open(o Options) (*Tap, error) {
	o.defaults()
	t := &Tap{o: o, event: -1, flushes: make(chan flush, 16), byCGroup: map[uint64]*point{}, lost: map[programLostKey]lostCount{}}
	for _, step := range []func() error{t.load, t.mapMemory, t.openPoll, t.chooseFirst, t.attach} {
		if err := step(); err != nil {
			t.Close()
			return nil, fmt.Errorf("open the tap on %s: %w", o.CGroup, explain(err))
		}
	}
	return t, nil
}

// explain puts words to the kernel's most usual refusal, for which the library guesses at memory limits.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the kernel refuses: it needs root, or the capabilities bpf, net_admin and perfmon (`devloop doctor` says how): %w", err)
	}
	return err
}

// load loads the programs, without those that this kernel does not know and that are not essential.
func (t *Tap) load() error {
	_ = rlimit.RemoveMemlock() // needed before 5.11 only
	spec, err := loadProgram()
	if err != nil {
		return err
	}
	spec.Maps[programMapPackets].MaxEntries = uint32(t.o.RingSize)
	variables := map[string]uint32{programVarWakeBytes: uint32(t.o.wake)}
	if t.o.Snap > 0 {
		variables[programVarSnap] = uint32(t.o.Snap)
	}
	if t.o.WholeIngress {
		variables[programVarHeadersOnly] = 0
	}
	if t.o.Choices != nil {
		variables[programVarChoosy] = 1
	}
	if t.o.EgressOnly {
		variables[programVarIngress], variables[programVarHeadersOnly] = 0, 0
	}
	for name, v := range variables {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	t.asleepAt = spec.Variables[programVarAsleep].Offset
	for name := range t.o.without {
		delete(spec.Programs, name)
	}
	t.objects, err = ebpf.NewCollection(spec)
	if err != nil && !errors.Is(err, unix.EPERM) {
		for _, name := range optional {
			delete(spec.Programs, name)
		}
		var second error
		if t.objects, second = ebpf.NewCollection(spec); second == nil {
			t.o.Log.Warn("packets will not name processes", "why", err)
			return nil
		}
	}
	return err
}

// optional are the programs that only tell which process a packet belongs to.
var optional = []string{programProgTapSocket, programProgTapBind4, programProgTapBind6}

// mapMemory maps the ring and the variables that the program and the reader share.
func (t *Tap) mapMemory() (err error) {
	if t.ring, err = openRing(t.objects.Maps[programMapPackets]); err != nil {
		return err
	}
	bss := t.objects.Maps[".bss"]
	if bss == nil {
		return errors.New("the program has no shared variables")
	}
	t.shared, err = unix.Mmap(bss.FD(), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the program's variables: %w", err)
	}
	t.asleep = (*atomic.Uint32)(unsafe.Pointer(&t.shared[t.asleepAt]))
	return nil
}

func (t *Tap) openPoll() (err error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("create epoll: %w", err)
	}
	if err := unix.SetNonblock(epoll, true); err != nil { // lets Go's poller wait for it
		unix.Close(epoll)
		return fmt.Errorf("set up epoll: %w", err)
	}
	t.poll = os.NewFile(uintptr(epoll), "tap")
	if t.pollConn, err = t.poll.SyscallConn(); err != nil {
		return fmt.Errorf("set up epoll: %w", err)
	}
	if t.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("create eventfd: %w", err)
	}
	for _, fd := range []int{t.event, t.objects.Maps[programMapPackets].FD()} {
		if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)}); err != nil {
			return fmt.Errorf("add to epoll: %w", err)
		}
	}
	return nil
}

// attach hooks the programs in. Sockets are noted first, so that no packet comes from one that was not.
func (t *Tap) attach() error {
	if _, err := CGroupID(t.o.CGroup); err != nil {
		return err
	}
	for _, a := range []struct {
		program string
		hook    ebpf.AttachType
	}{
		{programProgTapSocket, ebpf.AttachCGroupInetSockCreate},
		{programProgTapBind4, ebpf.AttachCGroupInet4PostBind},
		{programProgTapBind6, ebpf.AttachCGroupInet6PostBind},
		{programProgTapIngress, ebpf.AttachCGroupInetIngress},
		{programProgTapEgress, ebpf.AttachCGroupInetEgress},
	} {
		p := t.objects.Programs[a.program]
		if p == nil {
			continue
		}
		l, err := link.AttachCgroup(link.CgroupOptions{Path: t.o.CGroup, Attach: a.hook, Program: p})
		if err != nil {
			return fmt.Errorf("attach %s: %w", a.program, err)
		}
		t.links = append(t.links, l)
	}
	return nil
}

// Name is "tap".
func (*Tap) Name() string { return "tap" }

// idle is how long a packet may wait in the ring while there is little traffic.
const idle = 100 * time.Millisecond

// Run reads the ring until ctx ends, and what is in it then. It can be called once.
func (t *Tap) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	if !t.started.CompareAndSwap(false, true) {
		return errors.New("run the tap: it ran already")
	}
	defer t.ended.Store(true)
	stop := context.AfterFunc(ctx, t.wake)
	defer stop()
	var waiting []flush
	var p traffic.Packet
	for {
		t.setClock()
		t.drain(&p, emit)
		waiting = t.answer(waiting)
		select {
		case f := <-t.flushes:
			waiting = append(waiting, f)
			continue
		default:
		}
		if ctx.Err() != nil {
			return nil
		}
		if len(waiting) > 0 { // a producer is in the middle of a record
			runtime.Gosched()
			continue
		}
		if err := t.sleep(); err != nil {
			return fmt.Errorf("wait for packets: %w", err)
		}
	}
}

// drain emits everything that is ready. Room is given back in steps, so that the producers' view of it does not have to
// be fetched from this processor for each packet.
func (t *Tap) drain(p *traffic.Packet, emit func(*traffic.Packet)) {
	var last *point
	released := t.ring.at
	for record := t.ring.next(); record != nil; record = t.ring.next() {
		cgroup := t.decode(record, p)
		if last == nil || last.ifc.CGroup != cgroup {
			last = t.point(cgroup, p.PID)
		}
		p.Interface = last.ifc.Index
		p.Number = 0
		last.packets.Store(last.packets.Load() + 1) // only this goroutine writes
		emit(p)
		if t.ring.at-released >= 64<<10 {
			t.ring.release()
			released = t.ring.at
		}
	}
	t.ring.release()
}

const eventHeader = int(unsafe.Offsetof(programEvent{}.Data))

// decode fills p from a record, which is struct event of tap.bpf.c, and returns the cgroup.
func (t *Tap) decode(record []byte, p *traffic.Packet) uint64 {
	order := binary.NativeEndian
	_ = record[eventHeader]
	captured := order.Uint32(record[32:])
	p.Time = int64(order.Uint64(record)) + t.offset
	p.Cookie = order.Uint64(record[16:])
	p.PID = order.Uint32(record[24:])
	p.Length = int(order.Uint32(record[28:]))
	p.Link = traffic.LinkRaw
	p.Direction = traffic.Direction(order.Uint32(record[36:]))
	p.Data = record[eventHeader : eventHeader+int(captured)]
	return order.Uint64(record[8:])
}

// point finds the capture point of a cgroup, or makes it. The process is one that speaks there, or 0.
func (t *Tap) point(cgroup uint64, pid uint32) *point {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pointLocked(cgroup, pid)
}

func (t *Tap) pointLocked(cgroup uint64, pid uint32) *point {
	if p := t.byCGroup[cgroup]; p != nil {
		return p
	}
	target, ok := t.o.Resolve(cgroup)
	if !ok {
		target = capture.Target{Name: fmt.Sprintf("cgroup/%d", cgroup)}
	}
	target.CGroup = cgroup
	if target.Workload.Process == "" {
		target.Workload.Process = t.process(pid)
	}
	p := &point{ifc: target.Interface(len(t.points), traffic.LinkRaw)}
	t.points = append(t.points, p)
	t.byCGroup[cgroup] = p
	return p
}

// answer tells those who wait for a flush that it is done, and returns the others.
func (t *Tap) answer(waiting []flush) []flush {
	var rest []flush
	for _, f := range waiting {
		if t.ring.at >= f.upTo {
			close(f.done)
		} else {
			rest = append(rest, f)
		}
	}
	return rest
}

// sleep waits until enough is in the ring, somebody calls wake, or a while has passed. It waits in Go's own poller, not in
// a blocking call, under which the runtime's monitor thread was measured to use more time than the reading does.
func (t *Tap) sleep() error {
	t.asleep.Store(1)
	defer t.asleep.Store(0)
	if t.ring.waiting() >= uint64(t.o.wake) { // the producers may have looked before
		return nil
	}
	if err := t.poll.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return err
	}
	var failed error
	err := t.pollConn.Read(func(fd uintptr) bool {
		var events [2]unix.EpollEvent
		n, err := unix.EpollWait(int(fd), events[:], 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			failed = err
			return true
		}
		for i := range max(n, 0) {
			if int(events[i].Fd) == t.event {
				var b [8]byte
				unix.Read(t.event, b[:])
			}
		}
		// The ring's own readiness does not count: it is ready from the first byte on, and has wake-ups of its own.
		return n > 0 && (int(events[0].Fd) == t.event || n > 1) || t.asleep.Load() == 0
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return errors.Join(err, failed)
}

// wake ends a sleep.
func (t *Tap) wake() {
	t.wakeMu.Lock()
	defer t.wakeMu.Unlock()
	if t.event >= 0 {
		var b [8]byte
		binary.NativeEndian.PutUint64(b[:], 1)
		unix.Write(t.event, b[:])
	}
}

// setClock follows steps of the wall clock. Both clocks are slewed alike, so small differences are errors of reading
// them and are left alone: distances between packets stay exact.
func (t *Tap) setClock() {
	var mono unix.Timespec
	before := time.Now().UnixNano()
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil {
		return
	}
	after := time.Now().UnixNano()
	now := (before+after)/2 - mono.Nano()
	if diff := now - t.offset; after-before < int64(100*time.Microsecond) && (diff > 1e6 || diff < -1e6) || t.offset == 0 {
		t.offset = now
	}
}

// Flush returns when everything that was recorded before the call was emitted, which needs Run to run or to begin.
func (t *Tap) Flush(ctx context.Context) error {
	if t.ended.Load() {
		return errors.New("flush the tap: it does not run any more")
	}
	f := flush{upTo: t.ring.produced.Load(), done: make(chan struct{})}
	select {
	case t.flushes <- f:
	case <-ctx.Done():
		return fmt.Errorf("flush the tap: %w", ctx.Err())
	}
	t.wake()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("flush the tap: %w", ctx.Err())
	}
}

// Interfaces lists the cgroups that were heard of so far.
func (t *Tap) Interfaces() []traffic.Interface {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]traffic.Interface, len(t.points))
	for i, p := range t.points {
		list[i] = p.ifc
		list[i].Packets = p.packets.Load()
	}
	return list
}

// Stats says what was recorded and what the ring had no room for.
func (t *Tap) Stats() capture.Stats {
	t.mu.Lock()
	for key, n := range t.lostFlows() {
		c := t.lost[key]
		if n < c.last {
			c.last = 0
		}
		t.lost[key] = lostCount{last: n, sum: c.sum + n - c.last}
		t.pointLocked(key.Cgroup, 0)
	}
	byPoint := map[int]map[traffic.FlowLoss]uint64{} // the flow of packets that are neither TCP nor UDP has no name
	for key, c := range t.lost {
		i := t.byCGroup[key.Cgroup].ifc.Index
		if byPoint[i] == nil {
			byPoint[i] = map[traffic.FlowLoss]uint64{}
		}
		byPoint[i][flowOf(key)] += c.sum // both directions' records of a packet are the same flow
	}
	t.mu.Unlock()
	s := capture.Stats{Interfaces: t.Interfaces(), Dropped: t.lostTotal()}
	var sum uint64
	for i := range s.Interfaces {
		ifc := &s.Interfaces[i]
		s.Received += ifc.Packets
		for f, n := range byPoint[i] {
			ifc.Dropped += n
			if f.Packets = n; f.Proto != "" {
				ifc.Lost = append(ifc.Lost, f)
			}
		}
		sum += ifc.Dropped
	}
	s.Dropped = max(s.Dropped, sum)
	return s
}

func (t *Tap) lostFlows() map[programLostKey]uint64 {
	flows := map[programLostKey]uint64{}
	var key programLostKey
	var n uint64
	for it := t.objects.Maps[programMapLost].Iterate(); it.Next(&key, &n); {
		flows[key] = n
	}
	return flows
}

func (t *Tap) lostTotal() uint64 {
	var perCPU []uint64
	var sum uint64
	if t.objects.Maps[programMapLostTotal].Lookup(uint32(0), &perCPU) == nil {
		for _, n := range perCPU {
			sum += n
		}
	}
	return sum
}

func flowOf(key programLostKey) traffic.FlowLoss {
	name := map[uint32]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[key.Proto]
	if name == "" {
		return traffic.FlowLoss{}
	}
	addr := func(ip [16]byte, port uint16) netip.AddrPort {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], port)
		return netip.AddrPortFrom(netip.AddrFrom16(ip).Unmap(), binary.BigEndian.Uint16(b[:]))
	}
	return traffic.FlowLoss{Src: addr(key.Flow.Src, key.Flow.Sport), Dst: addr(key.Flow.Dst, key.Flow.Dport), Proto: name}
}

// Close detaches the programs and frees the ring.
func (t *Tap) Close() error {
	var errs []error
	for _, l := range t.links {
		errs = append(errs, l.Close())
	}
	t.links = nil
	if t.ring != nil {
		errs = append(errs, t.ring.close())
		t.ring = nil
	}
	if t.shared != nil {
		errs = append(errs, unix.Munmap(t.shared))
		t.shared = nil
	}
	t.wakeMu.Lock()
	defer t.wakeMu.Unlock()
	if t.event >= 0 {
		errs = append(errs, unix.Close(t.event))
		t.event = -1
	}
	if t.poll != nil {
		errs = append(errs, t.poll.Close())
		t.poll = nil
	}
	if t.objects != nil {
		t.objects.Close()
		t.objects = nil
	}
	return errors.Join(errs...)
}
