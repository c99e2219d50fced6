//go:build linux

package afpacket_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// netns makes two network namespaces that see each other as 10.78.0.1 and 10.78.0.2.
func netns(t *testing.T) (a, b string) {
	t.Helper()
	testenv.NeedsRoot(t)
	ip := testenv.NeedsProgram(t, "ip")
	id := fmt.Sprintf("%x", os.Getpid()&0xfffff)
	run := func(args ...string) {
		if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	for _, ns := range []string{"dlpa" + id, "dlpb" + id} {
		run("netns", "add", ns)
		t.Cleanup(func() { exec.Command(ip, "netns", "del", ns).Run() })
	}
	run("link", "add", "pa"+id, "netns", "dlpa"+id, "type", "veth", "peer", "name", "pb"+id, "netns", "dlpb"+id)
	for _, e := range [][3]string{{"dlpa" + id, "pa" + id, "10.78.0.1/24"}, {"dlpb" + id, "pb" + id, "10.78.0.2/24"}} {
		run("-n", e[0], "addr", "add", e[2], "dev", e[1])
		run("-n", e[0], "link", "set", e[1], "up")
	}
	return "/run/netns/dlpa" + id, "/run/netns/dlpb" + id
}

// within runs f on a thread in a network namespace.
func within(t *testing.T, netns string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// talk sends n datagrams of a size from a to b.
func talk(t *testing.T, a, b string, n, size int) {
	t.Helper()
	var server net.PacketConn
	within(t, b, func() (err error) { server, err = net.ListenPacket("udp4", "10.78.0.2:9000"); return err })
	defer server.Close()
	within(t, a, func() error {
		c, err := net.Dial("udp4", "10.78.0.2:9000")
		if err != nil {
			return err
		}
		defer c.Close()
		for range n {
			if _, err := c.Write(make([]byte, size)); err != nil {
				return err
			}
		}
		return nil
	})
}

func open(t *testing.T, o afpacket.Options) *afpacket.Source {
	t.Helper()
	s, err := afpacket.Open(o)
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

func run(t *testing.T, s *afpacket.Source, emit func(*traffic.Packet)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, emit) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestEachNamespaceIsAnInterface(t *testing.T) {
	a, b := netns(t)
	s := open(t, afpacket.Options{Targets: []capture.Target{{NetNS: a, Name: "local/a"}}})
	got := map[string]int{}
	var first time.Time
	stop := run(t, s, func(p *traffic.Packet) {
		if f, ok := capture.FlowOf(p); ok && f.Dst.String() == "10.78.0.2:9000" {
			got[fmt.Sprint(s.Interfaces()[p.Interface].Name, " ", p.Direction, " ", p.Length, " ", len(p.Data))]++
			first = time.Unix(0, p.Time)
		}
	})
	if err := s.Add(capture.Target{NetNS: b, Name: "local/b"}); err != nil {
		t.Fatal(err)
	}
	talk(t, a, b, 10, 100)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Remove(b)
	talk(t, a, b, 5, 200)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	want := "map[local/a 2 128 128:10 local/a 2 228 228:5 local/b 1 128 128:10]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	if age := time.Since(first); age < 0 || age > time.Minute {
		t.Errorf("last packet is %v old", age)
	}
	if st := s.Stats(); st.Received < 25 || st.Dropped != 0 || len(st.Interfaces) != 2 {
		t.Errorf("stats %+v", st)
	}
}

func TestAnOverflowIsCounted(t *testing.T) {
	a, b := netns(t)
	s := open(t, afpacket.Options{Targets: []capture.Target{{NetNS: a, Name: "local/a"}}, BlockSize: 128 << 10, Blocks: 2})
	talk(t, a, b, 2000, 1000) // nobody reads
	st := s.Stats()
	if st.Dropped < 1000 || st.Interfaces[0].Dropped != st.Dropped || st.Unattributed() != 0 {
		t.Errorf("stats %+v", st)
	}
	var n uint64
	stop := run(t, s, func(*traffic.Packet) { n++ })
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	if again := s.Stats(); again.Received != n || n == 0 || again.Dropped != st.Dropped {
		t.Errorf("%d packets; stats %+v", n, again)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := afpacket.Open(afpacket.Options{Targets: []capture.Target{{NetNS: "/run/netns/none-such", Name: "local/x"}}})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "local/x") {
		t.Errorf("got %v", err)
	}
}
