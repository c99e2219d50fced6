//go:build linux && (amd64 || arm64)

package tap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestMain lets the test binary play a service or its client in a cgroup of its own.
func TestMain(m *testing.M) {
	if role := os.Getenv("TAP_ROLE"); role != "" {
		if err := play(role, os.Getenv("TAP_ADDR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play is the other processes' main: a server that answers messages of a fixed size, or a client that sends some.
func play(role, addr string) error {
	n, _ := strconv.Atoi(os.Getenv("TAP_COUNT"))
	size, _ := strconv.Atoi(os.Getenv("TAP_SIZE"))
	switch role {
	case "pingpong":
		return pingPong(n, size)
	case "http":
		return httpLoad(n)
	}
	buf := make([]byte, size)
	if role == "echo-twice" { // one connection, each message when told
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		for range 2 {
			io.ReadFull(os.Stdin, make([]byte, 1))
			c.Write(buf)
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
			fmt.Println(c.LocalAddr())
		}
		return nil
	}
	if role == "client" {
		io.ReadFull(os.Stdin, make([]byte, 1)) // starts when told
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		for range n {
			c.Write(buf)
			if _, err := io.ReadFull(c, buf); err != nil {
				return err
			}
		}
		fmt.Println(c.LocalAddr())
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, size)
			for {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				c.Write(buf)
			}
		}()
	}
}

func cpuTime() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// newCGroup makes a cgroup that is gone after the test.
func newCGroup(t testing.TB, parent, name string) string {
	t.Helper()
	path := filepath.Join(parent, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 200 {
			if os.Remove(path) == nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // the kernel lets go of a dead process's cgroup a little later
		}
		t.Errorf("cgroup %s cannot be removed", path)
	})
	return path
}

func testRoot(t testing.TB) string {
	t.Helper()
	testenv.NeedsRoot(t)
	mount, err := Mount()
	if err != nil {
		t.Skip(err)
	}
	return newCGroup(t, mount, fmt.Sprintf("devloop-tap-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
}

// process is a copy of the test binary that plays a role in a cgroup and, when it is named, a network namespace.
type process struct {
	*exec.Cmd
	in io.WriteCloser
	r  io.Reader
}

func start(t testing.TB, cgroup, netns, role, addr string, count, size int) *process {
	t.Helper()
	argv := []string{os.Args[0]}
	if netns != "" {
		argv = append([]string{testenv.NeedsProgram(t, "ip"), "netns", "exec", netns}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TAP_ROLE="+role, "TAP_ADDR="+addr, fmt.Sprint("TAP_COUNT=", count), fmt.Sprint("TAP_SIZE=", size), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	if cgroup != "" {
		dir, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return &process{Cmd: cmd, in: in, r: out}
}

// line is the next line that the process prints.
func (p *process) line(t testing.TB) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := p.r.Read(b); err != nil {
			t.Fatalf("read from %v: %v after %q", p.Args, err, line)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

// finish tells a client to begin and waits for its end; it returns what the client printed.
func (p *process) finish(t testing.TB) string {
	t.Helper()
	p.in.Write([]byte("!"))
	line := p.line(t)
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	return line
}

// seen is a packet that outlives its callback.
type seen struct {
	traffic.Packet
	flow traffic.FlowLoss
	tcp  []byte // TCP header and payload
}

// heard collects what a source delivers.
func heard(t testing.TB, s capture.Source) (stop func() []seen) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var packets []seen
	go func() {
		done <- s.Run(ctx, func(p *traffic.Packet) {
			k := seen{Packet: *p}
			k.Data = bytes.Clone(p.Data)
			k.flow, _ = capture.FlowOf(p)
			if len(k.Data) > 40 && k.Data[0]>>4 == 4 {
				k.tcp = k.Data[20:]
			}
			packets = append(packets, k)
		})
	}()
	return func() []seen {
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return packets
	}
}

func open(t testing.TB, o Options) *Tap {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// netns makes two network namespaces that see each other.
func netns(t testing.TB) (a, b string) {
	t.Helper()
	ip := testenv.NeedsProgram(t, "ip")
	id := fmt.Sprintf("%x", os.Getpid()&0xfffff)
	a, b = "dlta"+id, "dltb"+id
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	for _, ns := range []string{a, b} {
		run("netns", "add", ns)
		t.Cleanup(func() { exec.Command(ip, "netns", "del", ns).Run() })
	}
	run("link", "add", "va"+id, "netns", a, "type", "veth", "peer", "name", "vb"+id, "netns", b)
	for _, e := range [][3]string{{a, "va" + id, "10.77.0.1/24"}, {b, "vb" + id, "10.77.0.2/24"}} {
		run("-n", e[0], "addr", "add", e[2], "dev", e[1])
		run("-n", e[0], "link", "set", e[1], "up")
	}
	return a, b
}

func TestPacketsCarryTheirWorkloadFromTheFirstSYN(t *testing.T) {
	root := testRoot(t)
	names := map[uint64]string{}
	cgroup := func(name string) string {
		path := newCGroup(t, root, name)
		id, err := CGroupID(path)
		if err != nil {
			t.Fatal(err)
		}
		names[id] = name
		return path
	}
	a, b := cgroup("a"), cgroup("b")
	nsA, nsB := netns(t)
	s := open(t, Options{CGroup: root, Resolve: func(id uint64) (capture.Target, bool) {
		return capture.Target{Name: "local/" + names[id], Workload: traffic.Workload{Service: names[id]}}, names[id] != ""
	}})
	server := start(t, b, nsB, "server", "10.77.0.2:7001", 0, 5000)
	server.line(t)
	client := start(t, a, nsA, "client", "10.77.0.2:7001", 20, 5000)
	stop := heard(t, s)
	local := client.finish(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	packets := stop()
	ifaces := s.Interfaces()
	var syns, outBytes, inHeaders int
	if len(packets) == 0 {
		t.Fatal("no packets")
	}
	for _, p := range packets {
		name := ifaces[p.Interface].Name
		fromClient := p.flow.Src.String() == local
		want, pid := "local/b", server.Process.Pid
		if fromClient == (p.Direction == traffic.DirectionOut) {
			want, pid = "local/a", client.Process.Pid
		}
		if name != want {
			t.Errorf("%v direction %d is on %s, want %s", p.flow, p.Direction, name, want)
		}
		if int(p.PID) != pid {
			t.Errorf("%v direction %d on %s has pid %d, want %d", p.flow, p.Direction, name, p.PID, pid)
		}
		if p.tcp != nil && p.tcp[13]&2 != 0 {
			syns++
		}
		payload := p.Length - 20 - int(p.tcp[12]>>4)*4
		captured := len(p.Data) - 20 - int(p.tcp[12]>>4)*4
		switch {
		case p.Direction == traffic.DirectionOut && captured != payload:
			t.Errorf("a sent packet with %d bytes has %d", payload, captured)
		case p.Direction == traffic.DirectionOut:
			outBytes += captured
		case payload > SMALL && captured == 0:
			inHeaders++
		case payload > SMALL:
			t.Errorf("a received packet from a recorded sender has %d of %d bytes", captured, payload)
		}
		if age := time.Since(time.Unix(0, p.Time)); age < 0 || age > time.Minute {
			t.Errorf("packet's time is %v ago", age)
		}
	}
	if len(packets) < 48 || packets[0].tcp[13]&0x12 != 2 || syns != 4 || outBytes != 2*20*5000 || inHeaders == 0 {
		t.Errorf("%d packets, %d SYNs, %d bytes sent, %d received with headers only", len(packets), syns, outBytes, inHeaders)
	}
	if st := s.Stats(); st.Dropped != 0 || st.Received != uint64(len(packets)) {
		t.Errorf("stats: %+v, want %d packets", st, len(packets))
	}
}

// SMALL is the constant of tap.bpf.c.
const SMALL = 96

func TestPayloadFromPeersThatAreNotRecordedIsThere(t *testing.T) {
	root := testRoot(t)
	in := newCGroup(t, root, "in")
	s := open(t, Options{CGroup: root})
	server := start(t, in, "", "server", "127.0.0.1:0", 0, 3000)
	addr := server.line(t)
	stop := heard(t, s)
	// One connection from inside first: what was learnt of it must not be believed of the next.
	start(t, in, "", "client", addr, 2, 3000).finish(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	local := start(t, "", "", "client", addr, 10, 3000).finish(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var in1, out int
	for _, p := range stop() {
		if p.flow.Src.String() == local {
			in1 += len(p.tcp) - int(p.tcp[12]>>4)*4
		}
		if p.flow.Dst.String() == local {
			out += len(p.tcp) - int(p.tcp[12]>>4)*4
		}
	}
	if in1 != 30000 || out != 30000 {
		t.Errorf("%d bytes of requests and %d of responses, want 30000 of each", in1, out)
	}
}

func TestAnOverflowIsCountedByFlow(t *testing.T) {
	root := testRoot(t)
	cg := newCGroup(t, root, "svc")
	id, _ := CGroupID(cg)
	s := open(t, Options{CGroup: root, RingSize: 64 << 10, Resolve: func(uint64) (capture.Target, bool) { return capture.Target{Name: "local/svc"}, true }})
	server := start(t, cg, "", "server", "127.0.0.1:0", 0, 2000)
	addr := server.line(t)
	local := start(t, cg, "", "client", addr, 500, 2000).finish(t) // nobody reads the ring
	stop := heard(t, s)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	read := stop()
	st := s.Stats()
	if len(read) == 0 || st.Received != uint64(len(read)) || st.Dropped < 1000 || st.Unattributed() != 0 {
		t.Fatalf("%d read; stats %+v", len(read), st)
	}
	ifc := st.Interfaces[0]
	if ifc.CGroup != id || ifc.Dropped != st.Dropped || len(ifc.Lost) != 2 {
		t.Fatalf("interface %+v", ifc)
	}
	var sum uint64
	for _, f := range ifc.Lost {
		sum += f.Packets
		ends := []string{f.Src.String(), f.Dst.String()}
		if f.Proto != "tcp" || strings.Join(ends, " ") != local+" "+addr && strings.Join(ends, " ") != addr+" "+local {
			t.Errorf("lost flow %+v, want %s and %s", f, local, addr)
		}
	}
	if sum != st.Dropped {
		t.Errorf("flows lost %d of %d", sum, st.Dropped)
	}
	if again := s.Stats(); again.Dropped != st.Dropped || again.Interfaces[0].Dropped != st.Dropped {
		t.Errorf("asked again: %+v, then %+v", st, again)
	}
}

func TestOlderKernelsDoWithoutProcesses(t *testing.T) {
	root := testRoot(t)
	cg := newCGroup(t, root, "svc")
	s := open(t, Options{CGroup: root, without: map[string]bool{programProgTapSocket: true, programProgTapBind4: true, programProgTapBind6: true}})
	addr := start(t, cg, "", "server", "127.0.0.1:0", 0, 500).line(t)
	stop := heard(t, s)
	start(t, cg, "", "client", addr, 3, 500).finish(t)
	s.Flush(t.Context())
	packets := stop()
	if len(packets) < 12 || packets[0].PID != 0 {
		t.Errorf("%d packets, pid %d", len(packets), packets[0].PID)
	}
}

func TestFlushNeedsRun(t *testing.T) {
	s := open(t, Options{CGroup: testRoot(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush without Run: %v", err)
	}
	if err := s.Run(ctx, func(*traffic.Packet) {}); err != nil {
		t.Errorf("Run with a context that has ended: %v", err)
	}
	if err := s.Flush(t.Context()); err == nil {
		t.Error("Flush after Run says nothing")
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	testenv.NeedsRoot(t)
	_, err := Open(Options{CGroup: "/sys/fs/cgroup/none-such"})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "none-such") {
		t.Errorf("got %v", err)
	}
}

func TestEventHeaderIsAsTheProgramHasIt(t *testing.T) {
	t.Parallel()
	if eventHeader != 40 || binary.Size(programLostKey{}) != 56 {
		t.Errorf("event header %d, lost key %d", eventHeader, binary.Size(programLostKey{}))
	}
}
