package dissect_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// childVariable makes the test binary one of these programs: its value is the program's name, and the argument is a file.
const childVariable = "DEVLOOP_DISSECT_CHILD"

var children = map[string]func(file string) error{
	"grpc":           func(file string) error { return recordTo(file, everyGRPC(file)) },
	"http2":          func(file string) error { return recordTo(file, everyHTTP2(file)) },
	"rpcs":           func(file string) error { return recordTo(file, manyRPCs(file)) },
	"redis":          func(file string) error { return recordTo(file, everyRedis(file)) },
	"redismany":      func(file string) error { return recordTo(file, manyRedis(file)) },
	"shapes":         func(file string) error { return recordTo(file, everyShape) },
	"load":           func(file string) error { return recordTo(file, manyCalls) },
	"postgresql":     func(file string) error { return recordTo(file, everyPostgreSQL(file)) },
	"postgresqlmany": func(file string) error { return recordTo(file, manyPostgreSQL(file)) },
	"grpcweb":        func(file string) error { return recordTo(file, everyWeb(file)) },
	"graphql":        func(file string) error { return recordTo(file, everyGraphQL(file)) },
	"tlspostgresql":  func(file string) error { return recordTo(file, encryptedPostgreSQL(file)) },
	"tls":            func(file string) error { return recordTo(file, everyTLS(file)) },
	"tlskeychanges":  func(file string) error { return recordTo(file, everyKeyChange(file)) },
	"tlsclients":     func(file string) error { return recordTo(file, everyClient(file)) },
	"websocket":      func(file string) error { return recordTo(file, everyWebSocket(file)) },
	"dns":            func(file string) error { return recordTo(file, everyDNS(file)) },
	"odd":            func(file string) error { return recordTo(file, everyOdd(file)) },
	"events":         func(file string) error { return recordTo(file, everyEvent(file)) },
	"browser":        func(file string) error { return recordTo(file, browse(file)) },
	"tcp":            func(file string) error { return recordTo(file, troubledTCP("1")) },
	"tcpnosack":      func(file string) error { return recordTo(file, troubledTCP("0")) },
	"dissect":        dissectAlone,
}

func TestMain(m *testing.M) {
	if run := children[os.Getenv(childVariable)]; run != nil {
		if err := run(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child runs this test binary as another program, in a network namespace of its own when it captures.
func child(t testing.TB, name, file string) (used *os.ProcessState, out string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, file)
	cmd.Env = append(os.Environ(), childVariable+"="+name)
	if name != "dissect" {
		testenv.NeedsRoot(t)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, file, err, text)
	}
	return cmd.ProcessState, string(text)
}

// recordTo captures what talk sends over the loopback of this process's namespace, which is empty but for that. Each
// packet is written once, as it was sent, by someone who belongs to neither end.
func recordTo(file string, talk func() error) error {
	if err := raiseLoopback(); err != nil {
		return err
	}
	source, err := afpacket.Open(afpacket.Options{Blocks: 128, Targets: []capture.Target{{NetNS: "/proc/self/ns/net", Name: "lo"}}})
	if err != nil {
		return err
	}
	defer source.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := pcapfile.NewWriter(f, pcapfile.Header{})
	w.AddInterface(&traffic.Interface{Name: "lo", Link: traffic.LinkRaw})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	var failed error
	go func() {
		done <- source.Run(ctx, func(p *traffic.Packet) {
			if p.Direction == traffic.DirectionOut {
				p.Direction = traffic.DirectionUnknown
				failed = errors.Join(failed, w.Write(p, 0))
			}
		})
	}()
	err = talk()
	flush, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	err = errors.Join(err, source.Flush(flush))
	cancel()
	err = errors.Join(err, <-done, failed, w.Flush())
	if st := source.Stats(); st.Dropped > 0 {
		err = errors.Join(err, fmt.Errorf("record %s: %d packets lost", file, st.Dropped))
	}
	return err
}

// raiseLoopback brings lo up with the packet size of an ethernet. Segments are not merged where ethtool is there to say so.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint32(1500)
	err = unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr)
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err = errors.Join(err, unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)); err != nil {
		return fmt.Errorf("bring lo up: %w", err)
	}
	_ = exec.Command("ethtool", "-K", "lo", "gso", "off", "tso", "off", "gro", "off").Run() // large segments are right, too
	return nil
}

// copiesVariable is how many copies of a capture dissectAlone takes for one: a file of any size that lies nowhere.
const copiesVariable = "DEVLOOP_BENCH_COPIES"

// dissectAlone reads a capture as `devloop dissect` does, and writes only the peak of its memory in kB, for what the kernel
// tells the parent includes the parent's, the number of calls, and the port of a server that speaks HTTP/2, or 0.
func dissectAlone(file string) error {
	debug.SetGCPercent(400)
	copies, _ := strconv.Atoi(os.Getenv(copiesVariable))
	r := repeated{file: file, left: max(1, copies)}
	calls, port := 0, uint16(0)
	count := func(c *traffic.Call) {
		if calls++; c.HTTP != nil && c.HTTP.Version == "2" {
			port = c.Dst.Port
		}
	}
	_, err := dissect.Run(context.Background(), r.next, r.iface, dissect.Options{OnCall: count, Returned: func() int { return 1 }})
	if err == nil && calls == 0 {
		err = errors.New("no calls")
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(strings.Fields(peak + " 0")[0], calls, port)
	return err
}

// repeated is a capture over IPv4 loopback several times, one after the other, each with addresses and times of its own.
type repeated struct {
	file  string
	left  int
	copy  int
	r     *pcapfile.Reader
	shift int64 // end of the copy before
	first int64 // time of the file's first packet
	last  int64
}

func (x *repeated) iface(i int) *traffic.Interface { return x.r.Interface(i) }

func (x *repeated) next(p *traffic.Packet) error {
	if x.r == nil {
		r, err := pcapfile.Open(x.file)
		if err != nil {
			return err
		}
		x.r = r
	}
	err := x.r.Next(p)
	if err == io.EOF {
		x.r.Close()
		if x.left--; x.left <= 0 {
			return io.EOF
		}
		x.r, x.shift = nil, x.last
		x.copy++
		return x.next(p)
	}
	if x.copy > 0 && err == nil {
		ip := p.Data
		if p.Link == traffic.LinkEthernet {
			ip = ip[14:]
		}
		ip[14], ip[18] = byte(x.copy), byte(x.copy)
		if x.first == 0 {
			x.first = p.Time
		}
		p.Time += x.shift - x.first
	}
	x.last = p.Time
	return err
}
