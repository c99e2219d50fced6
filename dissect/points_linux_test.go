package dissect_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// inNamespace runs f on a thread that is in a network namespace, and gives the thread up afterwards.
func inNamespace(name string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := os.Open("/run/netns/" + name)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// network makes two pods behind a router that does what kube-proxy does: 10.96.0.7:80 is a Service whose backend is pod b,
// 10.96.0.8:80 one whose backend is pod a. What a pod says to itself is masqueraded, as is what comes for the node's port.
func network(t *testing.T) (router, a, b string) {
	t.Helper()
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "ip")
	testenv.NeedsProgram(t, "nft")
	id := fmt.Sprintf("dlp%d", os.Getpid())
	router, a, b = id+"r", id+"a", id+"b"
	run := func(line string) {
		t.Helper()
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	for _, ns := range []string{router, a, b} {
		run("ip netns add " + ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		run("ip -n " + ns + " link set lo up")
	}
	for i, ns := range []string{a, b} {
		port := fmt.Sprintf("%s%d", "p", i)
		run("ip -n " + router + " link add " + port + " type veth peer name eth0 netns " + ns)
		run(fmt.Sprintf("ip -n %s addr add 10.1.%d.1/24 dev %s", router, i, port))
		run("ip -n " + router + " link set " + port + " up")
		run(fmt.Sprintf("ip -n %s addr add 10.1.%d.2/24 dev eth0", ns, i))
		run("ip -n " + ns + " link set eth0 up")
		run(fmt.Sprintf("ip -n %s route add default via 10.1.%d.1", ns, i))
	}
	run("ip netns exec " + router + " sysctl -qw net.ipv4.ip_forward=1")
	rules := `table ip kube {
	chain pre { type nat hook prerouting priority dstnat;
		ip daddr 10.96.0.7 tcp dport 80 dnat to 10.1.1.2:8080
		ip daddr 10.96.0.8 tcp dport 80 dnat to 10.1.0.2:8080
		ip daddr 10.1.0.1 tcp dport 30080 dnat to 10.1.1.2:8080
		ip daddr 10.96.0.9 tcp dport 80 dnat to 10.1.1.2:9999
	}
	chain post { type nat hook postrouting priority srcnat;
		ct status dnat ip saddr 10.1.0.2 ip daddr 10.1.0.2 masquerade
		ct status dnat ct original ip daddr 10.1.0.1 masquerade fully-random
		ct status dnat ct original ip daddr 10.96.0.9 masquerade fully-random
	}
}`
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	run("ip netns exec " + router + " nft -f " + file)
	return router, a, b
}

// TestPointsKernel captures in two network namespaces what a kernel translates between them: a Service, a hairpin, a node's
// port, and a Service whose backend refuses.
func TestPointsKernel(t *testing.T) {
	_, a, b := network(t)
	for _, ns := range []string{a, b} {
		var l net.Listener
		err := inNamespace(ns, func() (err error) { l, err = net.Listen("tcp4", "0.0.0.0:8080"); return err })
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, strings.Repeat(ns+r.URL.Path, 2000))
		})}
		go func() { _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close() })
	}

	var targets []capture.Target
	var points []*traffic.Interface
	for i, ns := range []string{a, b} {
		w := traffic.Workload{Namespace: "shop", Kind: "pod", Pod: ns, Node: "n"}
		targets = append(targets, capture.Target{NetNS: "/run/netns/" + ns, Name: ns, Workload: w})
		points = append(points, &traffic.Interface{Index: i, Name: ns, Workload: &w})
	}
	source, err := afpacket.Open(afpacket.Options{Targets: targets})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var packets []traffic.Packet
	done := make(chan error, 1)
	go func() {
		done <- source.Run(ctx, func(p *traffic.Packet) {
			mu.Lock()
			defer mu.Unlock()
			q := *p
			q.Data = slices.Clone(p.Data)
			packets = append(packets, q)
		})
	}()

	const each = 20
	for _, to := range []string{"10.96.0.7:80", "10.96.0.8:80", "10.1.0.1:30080"} {
		for i := range each {
			err := inNamespace(a, func() error {
				c, err := net.DialTimeout("tcp4", to, 5*time.Second)
				if err != nil {
					return err
				}
				client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
					DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}}
				r, err := client.Post(fmt.Sprintf("http://%s/%d", to, i), "text/plain", strings.NewReader(strings.Repeat("x", 5000)))
				if err != nil {
					return err
				}
				defer r.Body.Close()
				_, err = io.Copy(io.Discard, r.Body)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := inNamespace(a, func() error { _, err := net.DialTimeout("tcp4", "10.96.0.9:80", 5*time.Second); return err }); err == nil {
		t.Fatal("a backend without a listener answers")
	}
	flush, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if err := source.Flush(flush); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}

	var got rows
	got.Account = feed(dissect.New(got.into()), packets, points)
	dissect.Settle(got.Calls, got.Connections)
	if got.Account.Joined != 3*each+1 || len(got.Calls) != 3*each || len(got.Connections) != 3*each+1 || got.Account.OnePoint != 0 {
		t.Errorf("%d calls, %d connections, %d joined, %d with one point; made %d calls and one that was refused",
			len(got.Calls), len(got.Connections), got.Account.Joined, got.Account.OnePoint, 3*each)
	}
	for _, c := range got.Connections {
		backend := map[string]string{"10.96.0.7:80": "10.1.1.2:8080", "10.96.0.8:80": "10.1.0.2:8080", "10.1.0.1:30080": "10.1.1.2:8080", "10.96.0.9:80": "10.1.1.2:9999"}
		if c.Dst.Addr().String() != backend[c.OriginalDst.String()] || c.Src.IP.String() != "10.1.0.2" || c.Src.Pod != a || len(c.Views) != 2 || c.Missing > 0 {
			t.Errorf("connection from %s to %s, asked %s: %+v", c.Src.Addr(), c.Dst.Addr(), c.OriginalDst, c.Views)
		}
		if refused := c.OriginalDst.String() == "10.96.0.9:80"; refused != (c.State == traffic.StateRefused) || !refused && (c.HandshakeClientNS == 0 || c.HandshakeServerNS == 0) {
			t.Errorf("connection to %s: %s, handshakes of %d and %d ns", c.OriginalDst, c.State, c.HandshakeClientNS, c.HandshakeServerNS)
		}
		for _, v := range c.Views { // one clock
			if v.ClockErrorNS > 0 && max(v.ClockOffsetNS, -v.ClockOffsetNS) > v.ClockErrorNS {
				t.Errorf("clock offset %d ± %d ns on one machine", v.ClockOffsetNS, v.ClockErrorNS)
			}
		}
	}
}
