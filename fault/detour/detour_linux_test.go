package detour

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/tap"
	"github.com/devloop-io/devloop/internal/testenv"
)

// TestMain is also the program that connects from within a cgroup: it prints what it is told, and whom it believes to have reached.
func TestMain(m *testing.M) {
	to := os.Getenv("DETOUR_TEST_CONNECT")
	if to == "" {
		os.Exit(m.Run())
	}
	network, address, _ := strings.Cut(to, " ")
	if err := connect(network, netip.MustParseAddrPort(address)); err != nil {
		fmt.Println(err)
	}
}

// connect uses the system's calls: Go would not take an IPv4 address for an IPv6 socket, and remembers addresses by itself.
func connect(network string, to netip.AddrPort) error {
	family, addr := syscall.AF_INET, syscall.Sockaddr(&syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	if network == "tcp6" {
		family, addr = syscall.AF_INET6, &syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	patience := syscall.NsecToTimeval(int64(300 * time.Millisecond))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &patience); err != nil {
		return err
	}
	if err := syscall.Connect(fd, addr); err != nil {
		return err
	}
	said := make([]byte, 64)
	n, err := syscall.Read(fd, said)
	if err != nil {
		return err
	}
	port := 0
	peer, err := syscall.Getpeername(fd)
	switch peer := peer.(type) {
	case *syscall.SockaddrInet4:
		port = peer.Port
	case *syscall.SockaddrInet6:
		port = peer.Port
	}
	fmt.Printf("%s at port %d", said[:n], port)
	return err
}

// greets listens, and says its name to everyone.
func greets(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, name)
			c.Close() // the reader has what was said first
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func group(t *testing.T) string {
	t.Helper()
	root, err := tap.Mount()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, "devloop-detour-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	return dir
}

// connects says what a program in the cgroup reaches.
func connects(t *testing.T, cgroup, network string, to netip.AddrPort) string {
	t.Helper()
	dir, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "DETOUR_TEST_CONNECT="+network+" "+to.String())
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestConnectionsAreTurned(t *testing.T) {
	testenv.NeedsRoot(t)
	server, relay, other := greets(t, "server"), greets(t, "relay"), greets(t, "other")
	inside, outside := group(t), group(t)
	d, err := Open(Turn, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.To(server, relay); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(inside, "container")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(below) })
	for range 2 { // saying it again changes nothing
		if err := d.Over([]string{inside}); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string, a netip.AddrPort) string { return fmt.Sprintf("%s at port %d", name, a.Port()) }
	for _, x := range []struct{ name, cgroup, network, want string }{
		{"the cgroup's connection is turned, and does not know", inside, "tcp4", at("relay", server)},
		{"so is one of a container below", below, "tcp4", at("relay", server)},
		{"so is that of a socket for both versions of IP", inside, "tcp6", at("relay", server)},
		{"others reach the server", outside, "tcp4", at("server", server)},
	} {
		if got := connects(t, x.cgroup, x.network, server); got != x.want {
			t.Errorf("%s: %q, want %q", x.name, got, x.want)
		}
	}
	if got, want := connects(t, inside, "tcp4", other), at("other", other); got != want {
		t.Errorf("another destination: %q, want %q", got, want)
	}
	if err := d.Over([]string{outside}); err != nil {
		t.Fatal(err)
	}
	if got, want := connects(t, inside, "tcp4", server), at("server", server); got != want {
		t.Errorf("a cgroup that is not named any more: %q, want %q", got, want)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := connects(t, outside, "tcp4", server), at("server", server); got != want {
		t.Errorf("after the detour: %q, want %q", got, want)
	}
}

func TestPacketsAreLost(t *testing.T) {
	testenv.NeedsRoot(t)
	server, other, cgroup := greets(t, "server"), greets(t, "other"), group(t)
	d, err := Open(Lose, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.To(server, netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if err := d.Over([]string{cgroup}); err != nil {
		t.Fatal(err)
	}
	if got := connects(t, cgroup, "tcp4", server); !strings.Contains(got, "in progress") {
		t.Errorf("without packets: %q", got)
	}
	if got := connects(t, cgroup, "tcp4", other); !strings.HasPrefix(got, "other") {
		t.Errorf("another destination: %q", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got := connects(t, cgroup, "tcp4", server); !strings.HasPrefix(got, "server") {
		t.Errorf("after the detour: %q", got)
	}
}

func TestOnlyIPv4(t *testing.T) {
	testenv.NeedsRoot(t)
	d, err := Open(Turn, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.To(netip.MustParseAddrPort("[2001:db8::1]:80"), netip.AddrPort{}); err == nil || !strings.Contains(err.Error(), "no IPv4 address") {
		t.Errorf("got %v", err)
	}
}
