package dissect_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestTCPTshark lets the kernel's TCP lose segments, probe closed windows, keep alive, reset and give up, with and without
// selective acknowledgements, and compares what is counted with what tshark counts. Then the same packets, changed: from
// high sequence numbers on, from the middle on, with losses of the capture, duplicates and another order.
func TestTCPTshark(t *testing.T) {
	testenv.NeedsProgram(t, "tshark")
	testenv.NeedsProgram(t, "nft")
	for _, talk := range []string{"tcp", "tcpnosack"} {
		file := filepath.Join(t.TempDir(), "input.pcapng")
		child(t, talk, file)
		original, _ := readPackets(file, math.MaxInt)
		for name, change := range map[string]func([]traffic.Packet) []traffic.Packet{
			"as it was":        slices.Clone[[]traffic.Packet],
			"sequence wrap":    nearWrap,
			"from the middle":  fromMiddle,
			"lossy capture":    damaged(1),
			"lossy capture, 2": damaged(2),
		} {
			t.Run(talk+"/"+name, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "changed.pcapng")
				writePackets(t, file, change(original))
				var loose int64
				if strings.HasPrefix(name, "lossy") {
					// Whether a repeat is called a retransmission or out of order hangs on microseconds of the live capture, and
					// on what tshark remembers of segments that the damage took away. No stream has been seen to differ by more.
					loose = 1
				}
				sum := compareTCP(t, file, loose)
				if name == "as it was" && (sum.Retrans == 0 || sum.ZeroWindow == 0 || sum.KeepAlive == 0 || sum.RST == 0 || sum.DupAcks == 0) {
					t.Errorf("the kernels did not do what is tested: %+v", sum)
				}
			})
		}
	}
}

// compareTCP compares each stream of a capture, whose counters may differ by loose, and returns what tshark counted in all.
func compareTCP(t *testing.T, file string, loose int64) (sum tcpTruth) {
	want := askTshark(t, file).TCP
	_, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x := newTCPTally(t)
	x.known, x.two, x.loose = nil, nil, loose // nil: those of foreign captures
	x.compare(t, truth{File: filepath.Base(file), TCP: want}, conns)
	for w := range maps.Values(want) {
		sum.Retrans, sum.ZeroWindow, sum.KeepAlive = sum.Retrans+w.Retrans, sum.ZeroWindow+w.ZeroWindow, sum.KeepAlive+w.KeepAlive
		sum.RST, sum.DupAcks, sum.Fast, sum.WindowFull = sum.RST+w.RST, sum.DupAcks+w.DupAcks, sum.Fast+w.Fast, sum.WindowFull+w.WindowFull
		sum.OutOfOrder, sum.Lost, sum.FIN = sum.OutOfOrder+w.OutOfOrder, sum.Lost+w.Lost, sum.FIN+w.FIN
	}
	t.Logf("%d streams, in all %+v", len(want), sum)
	return sum
}

// nearWrap moves the numbers of each direction so that they wrap after 2,000 bytes.
func nearWrap(all []traffic.Packet) (out []traffic.Packet) {
	shift := map[[4]byte]uint32{} // by ports, of the sender
	for _, p := range all {
		p.Data = slices.Clone(p.Data)
		b := p.Data[int(p.Data[0]&15)*4:]
		me, peer := [4]byte(b), [4]byte{b[2], b[3], b[0], b[1]}
		seq, ack := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		if b[13]&2 != 0 {
			shift[me] = -seq - 2000
		}
		binary.BigEndian.PutUint32(b[4:], seq+shift[me])
		if b[13]&16 != 0 {
			binary.BigEndian.PutUint32(b[8:], ack+shift[peer])
		}
		out = append(out, p)
	}
	return out
}

// fromMiddle leaves the beginning of every connection out.
func fromMiddle(all []traffic.Packet) []traffic.Packet {
	return slices.DeleteFunc(slices.Clone(all[len(all)/4:]), func(p traffic.Packet) bool { return isSYN(&p) })
}

func isSYN(p *traffic.Packet) bool { return p.Data[int(p.Data[0]&15)*4+13]&2 != 0 }

// damaged loses 3 of 100 packets, repeats 2 and exchanges 5 with one that follows. The times stay in order. SYNs stay where
// they are: tshark does not count one that was captured after its SYN-ACK (see testdata/known_tcp.txt).
func damaged(seed uint64) func([]traffic.Packet) []traffic.Packet {
	return func(all []traffic.Packet) (out []traffic.Packet) {
		r := rand.New(rand.NewPCG(seed, 0))
		for _, p := range all {
			if r.Float64() < 0.03 && !isSYN(&p) {
				continue
			}
			out = append(out, p)
			if r.Float64() < 0.02 {
				out = append(out, p)
			}
		}
		for i := range len(out) - 3 {
			if j := i + 1 + r.IntN(3); r.Float64() < 0.05 && !slices.ContainsFunc(out[i:j+1], func(p traffic.Packet) bool { return isSYN(&p) }) {
				out[i], out[j] = out[j], out[i]
				out[i].Time, out[j].Time = out[j].Time, out[i].Time
			}
		}
		return out
	}
}

// Addresses of whom segments are lost on the way, and of whom none arrives.
const (
	lossyHost  = "127.0.0.2"
	silentHost = "127.0.0.3"
)

// troubledTCP is the talk of TestTCPTshark, in a network namespace of its own.
func troubledTCP(sack string) func() error {
	return func() error {
		if err := os.WriteFile("/proc/sys/net/ipv4/tcp_sack", []byte(sack), 0o644); err != nil {
			return err
		}
		rules := exec.Command("nft", "-f", "-")
		rules.Stdin = strings.NewReader(`table ip devloop {
			chain input {
				type filter hook input priority 0
				ip daddr ` + lossyHost + ` numgen random mod 100 < 2 drop
				ip saddr ` + lossyHost + ` numgen random mod 100 < 2 drop
				ip daddr ` + silentHost + ` drop
			}
		}
		`)
		if out, err := rules.CombinedOutput(); err != nil {
			return fmt.Errorf("nft -f -: %w: %s", err, out)
		}
		talks := []func() error{readSlowly, idle, reset, refused, unanswered, forgotten}
		for range 8 {
			talks = append(talks, lossy)
		}
		var all sync.WaitGroup
		failed := make([]error, len(talks))
		for i, talk := range talks {
			all.Go(func() { failed[i] = talk() })
		}
		all.Wait()
		return errors.Join(failed...)
	}
}

// pair is both ends of a connection. The server's receive buffer has a size of its own when that is not 0.
func pair(host string, buffer int) (client, server *net.TCPConn, err error) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			if buffer > 0 {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
			}
		})
	}, KeepAlive: -1}
	l, err := config.Listen(context.Background(), "tcp", host+":0")
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	dialer := net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	c, err := dialer.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	s, err := l.Accept()
	if err != nil {
		return nil, nil, err
	}
	return c.(*net.TCPConn), s.(*net.TCPConn), nil
}

// transfer sends bytes and closes this side; the other side reads to the end, from a time on.
func transfer(from, to *net.TCPConn, bytes int, start <-chan time.Time) error {
	var sent error
	var sending sync.WaitGroup
	sending.Go(func() {
		_, sent = from.Write(make([]byte, bytes))
		sent = errors.Join(sent, from.CloseWrite())
	})
	if start != nil {
		<-start
	}
	n, err := io.Copy(io.Discard, to)
	sending.Wait()
	if int(n) != bytes {
		err = errors.Join(err, fmt.Errorf("%d bytes of %d arrived", n, bytes))
	}
	return errors.Join(sent, err)
}

func lossy() error {
	client, server, err := pair(lossyHost, 0)
	if err != nil {
		return err
	}
	defer client.Close()
	defer server.Close()
	return errors.Join(transfer(client, server, 300_000, nil), transfer(server, client, 100_000, nil))
}

// readSlowly lets a window fill up, so that it is probed.
func readSlowly() error {
	client, server, err := pair("127.0.0.1", 4096)
	if err != nil {
		return err
	}
	defer client.Close()
	defer server.Close()
	return transfer(client, server, 100_000, time.After(1500*time.Millisecond))
}

// idle says nothing for two keep-alives.
func idle() error {
	client, server, err := pair("127.0.0.1", 0)
	if err != nil {
		return err
	}
	defer client.Close()
	defer server.Close()
	if err := client.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 5}); err != nil {
		return err
	}
	server.SetReadDeadline(time.Now().Add(2300 * time.Millisecond))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	server.SetReadDeadline(time.Time{})
	return transfer(client, server, 1000, nil)
}

// reset ends a connection with RST after some data.
func reset() error {
	client, server, err := pair("127.0.0.1", 0)
	if err != nil {
		return err
	}
	defer server.Close()
	client.SetLinger(0)
	if _, err := client.Write(make([]byte, 5000)); err != nil {
		return err
	}
	client.Close()
	if _, err := io.Copy(io.Discard, server); !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("after a RST: %w", err)
	}
	return nil
}

func refused() error {
	if _, err := net.Dial("tcp", "127.0.0.1:9"); !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return nil
}

// unanswered repeats its SYN.
func unanswered() error {
	var late net.Error
	if _, err := net.DialTimeout("tcp", silentHost+":9", 1500*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
		return fmt.Errorf("connect to %s: %w", silentHost, err)
	}
	return nil
}

// forgotten leaves a connection half open: one side drops it without a word, and the other one speaks.
func forgotten() error {
	client, server, err := pair("127.0.0.1", 0)
	if err != nil {
		return err
	}
	defer client.Close()
	raw, err := server.SyscallConn()
	if err != nil {
		return err
	}
	var repair error
	if err := raw.Control(func(fd uintptr) { repair = unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_REPAIR, 1) }); err != nil || repair != nil {
		return errors.Join(err, repair)
	}
	server.Close()
	if _, err := client.Write([]byte("is anybody there?")); err != nil {
		return err
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("from a side that has forgotten the connection: %w", err)
	}
	return nil
}
