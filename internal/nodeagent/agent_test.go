//go:build linux && (amd64 || arm64)

package nodeagent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/capture/tap"
	"github.com/devloop-io/devloop/internal/nodeagent"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

const token = "a token of the right length"

// TestMain lets the test binary play the agent, and services and clients in the pods' cgroups.
func TestMain(m *testing.M) {
	var err error
	if os.Getenv("NODEAGENT_ROLE") == "" {
		os.Exit(m.Run())
	}
	// A test that was killed leaves nothing behind.
	parent := os.Getppid()
	go func() {
		for ; os.Getppid() == parent; time.Sleep(time.Second) {
		}
		os.Exit(1)
	}()
	switch os.Getenv("NODEAGENT_ROLE") {
	case "agent":
		err = playAgent()
	case "server":
		err = playServer()
	case "client":
		err = playClient()
	case "flood":
		err = playFlood()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func playAgent() error {
	var o nodeagent.Options
	if err := json.Unmarshal([]byte(os.Getenv("NODEAGENT_OPTIONS")), &o); err != nil {
		return err
	}
	a, err := nodeagent.Open(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", os.Getenv("NODEAGENT_ADDR"))
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return a.Run(context.Background(), l)
}

func playServer() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
}

// playClient makes as many requests, each on a connection of its own, as each line of standard input says.
func playClient() error {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		var n int
		if _, err := fmt.Scanln(&n); err != nil {
			return nil
		}
		for i := range n {
			res, err := c.Get(fmt.Sprint("http://", os.Getenv("NODEAGENT_ADDR"), "/", i))
			if err != nil {
				return err
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		fmt.Println("done")
	}
}

// playFlood sends datagrams at a rate to nobody.
func playFlood() error {
	var rate, count int
	for {
		if _, err := fmt.Scanln(&rate, &count); err != nil {
			return nil
		}
		sink, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := net.Dial("udp", sink.LocalAddr().String())
		if err != nil {
			return err
		}
		began, payload := time.Now(), make([]byte, 300)
		for i := range count {
			for ; time.Since(began) < time.Duration(i)*time.Second/time.Duration(rate); time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate)))) {
			}
			c.Write(payload)
		}
		fmt.Println(time.Since(began).Nanoseconds())
		c.Close()
		sink.Close()
	}
}

const (
	podA = "aaaaaaaa-1111-4222-8333-444444444444"
	podB = "bbbbbbbb-1111-4222-8333-444444444444"
	boxA = "aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee"
	boxB = "bb11223344556677889900aabbccddeeff00112233445566778899aabbccddee"
)

// node is a tree of cgroups such as kubelet and containerd make.
type node struct {
	t    testing.TB
	root string
	a, b string // containers
	sys  string // a service of the node
}

func newNode(t testing.TB) *node {
	t.Helper()
	testenv.NeedsRoot(t)
	mount, err := tap.Mount()
	if err != nil {
		t.Skip(err)
	}
	n := &node{t: t, root: filepath.Join(mount, fmt.Sprintf("devloop-nodeagent-%d-%d", os.Getpid(), time.Now().UnixNano()))}
	n.folder("")
	n.a, n.b = n.pod(podA, boxA), n.pod(podB, boxB)
	n.folder("system.slice")
	n.sys = n.folder("system.slice/kubelet.service")
	return n
}

// pod makes a pod's folders and returns the container's.
func (n *node) pod(uid, box string) string {
	n.t.Helper()
	escaped := strings.ReplaceAll(uid, "-", "_")
	path := "kubelet.slice"
	for _, next := range []string{"", "/kubelet-kubepods.slice", "/kubelet-kubepods-besteffort.slice", "/kubelet-kubepods-besteffort-pod" + escaped + ".slice", "/cri-containerd-" + box + ".scope"} {
		path += next
		if _, err := os.Stat(filepath.Join(n.root, path)); err != nil {
			n.folder(path)
		}
	}
	return filepath.Join(n.root, path)
}

func (n *node) folder(path string) string {
	n.t.Helper()
	full := filepath.Join(n.root, path)
	if err := os.Mkdir(full, 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if !poll(func() bool { return os.Remove(full) == nil }) { // the kernel lets go of a dead process's cgroup a little later
			n.t.Errorf("cgroup %s cannot be removed", full)
		}
	})
	return full
}

func poll(f func() bool) bool {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return true
		}
	}
	return false
}

// process is a copy of the test binary in a cgroup.
type process struct {
	*exec.Cmd
	t  testing.TB
	in io.Writer
	r  io.Reader
}

func start(t testing.TB, cgroup, role, addr string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "NODEAGENT_ROLE="+role, "NODEAGENT_ADDR="+addr)...)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, &syscall.SysProcAttr{}
	if cgroup != "" {
		dir, err := os.Open(cgroup)
		if err != nil {
			t.Fatal(err)
		}
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd, t, in, out}
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	p.Process.Kill()
	p.Wait()
}

func (p *process) line() string {
	p.t.Helper()
	var line []byte
	for b := make([]byte, 1); ; {
		if _, err := p.r.Read(b); err != nil {
			p.t.Fatalf("read from the process: %v after %q", err, line)
		}
		if b[0] == '\n' {
			return string(line)
		}
		line = append(line, b[0])
	}
}

func (p *process) ask(what ...any) string {
	p.t.Helper()
	fmt.Fprintln(p.in, what...)
	return p.line()
}

// server starts a server and a client of it.
func (n *node) talk(clientIn, serverIn string) (client *process) {
	n.t.Helper()
	return start(n.t, clientIn, "client", start(n.t, serverIn, "server", "").line())
}

func (n *node) options() nodeagent.Options {
	return nodeagent.Options{Node: "n1", Token: token, CGroups: []string{"/host/none", n.root}, Ring: n.t.TempDir()}
}

// serve runs an agent within the test.
func serve(t testing.TB, o nodeagent.Options) (addr string) {
	t.Helper()
	a, err := nodeagent.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// serveProcess runs an agent that can be killed.
func serveProcess(t testing.TB, cgroup, addr string, o nodeagent.Options) (*process, string) {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, cgroup, "agent", addr, "NODEAGENT_OPTIONS="+string(b))
	return p, p.line()
}

// seen is what a source delivered.
type seen struct {
	mu      sync.Mutex
	byName  map[string]int
	cookies map[string]int // packets by their bytes and time: none may come twice
	total   int
}

func listen(t testing.TB, s capture.Source) (*seen, func()) {
	t.Helper()
	got := &seen{byName: map[string]int{}, cookies: map[string]int{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	var names []string
	go func() {
		done <- s.Run(ctx, func(p *traffic.Packet) {
			for len(names) <= p.Interface {
				names = append(names, s.Interfaces()[len(names)].Name)
			}
			got.mu.Lock()
			defer got.mu.Unlock()
			got.byName[names[p.Interface]]++
			got.cookies[fmt.Sprint(p.Interface, p.Time, p.Direction, p.Cookie, p.Length)]++
			got.total++
		})
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return got, stop
}

// take returns what came since it was last asked.
func (s *seen) take() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.byName
	s.byName = map[string]int{}
	return m
}

func dial(t testing.TB, o agent.Options) *agent.Source {
	t.Helper()
	o.Token = token
	s, err := agent.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func flush(t testing.TB, s capture.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func resolve(uid, box string) (traffic.Workload, bool) {
	name := map[string]string{podA: "cart", podB: "payment"}[uid]
	return traffic.Workload{Namespace: "shop", Pod: name, Container: box[:2]}, name != ""
}

func TestPodsAreNamedAndTargetsChangeWhileRunning(t *testing.T) {
	n := newNode(t)
	addr := serve(t, n.options())
	s := dial(t, agent.Options{Address: addr, Resolve: resolve})
	got, _ := listen(t, s)
	pods, sys := n.talk(n.a, n.b), n.talk(n.sys, n.b)
	check := func(step string, want ...string) {
		t.Helper()
		pods.ask(3)
		sys.ask(3)
		flush(t, s)
		m := got.take()
		for _, name := range want {
			if m[name] == 0 {
				t.Errorf("%s: nothing of %s; got %v", step, name, m)
			}
			delete(m, name)
		}
		if len(m) > 0 {
			t.Errorf("%s: also %v", step, m)
		}
	}
	set := func(r agent.Rules) agent.Targets {
		t.Helper()
		targets, err := s.Client().SetTargets(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		got.take() // the last packets of connections that were closing meanwhile
		return targets
	}
	check("by default", "shop/cart/aa", "shop/payment/bb")
	targets := set(agent.Rules{Exclude: []string{podA}})
	check("without cart", "shop/payment/bb")
	var captured []string
	for _, m := range targets.Matched {
		if m.Captured && m.Container != "" {
			captured = append(captured, m.Pod+" "+m.Container+" "+m.Runtime+" "+m.QoS)
		}
	}
	if want := podB + " " + boxB + " containerd besteffort"; len(captured) != 1 || captured[0] != want {
		t.Errorf("captured %q, want %q", captured, want)
	}
	set(agent.Rules{Pods: []string{podA}, Unknown: agent.Ignore})
	check("cart only", "shop/cart/aa")
	set(agent.Rules{Host: true, Pods: []string{podA}, Unknown: agent.Ignore})
	check("cart and the node", "shop/cart/aa", "host/kubelet")
	set(agent.Rules{Ports: []uint16{1}})
	check("other ports")
	const late = "cccccccc-1111-4222-8333-444444444444"
	set(agent.Rules{Pods: []string{late}, Unknown: agent.Ignore})
	later := n.talk(n.pod(late, boxA[:32]), n.b)
	if !poll(func() bool { // the agent looks for new pods now and then
		later.ask(1)
		flush(t, s)
		return got.take()["pod/"+late+"/"+boxA[:32]] > 0
	}) {
		t.Error("a pod that came later is not captured")
	}
	for _, ifc := range s.Interfaces() {
		if ifc.Workload == nil || ifc.Workload.Node != "n1" || ifc.Workload.Process == "" {
			t.Errorf("interface %+v has workload %+v", ifc, ifc.Workload)
		}
	}
	if st := s.Stats(); st.Dropped != 0 || len(s.Gaps()) > 0 {
		t.Errorf("stats %+v, gaps %v", st, s.Gaps())
	}
}

// An agent whose answers were captured would answer with these, and so on.
func TestTheAgentDoesNotCaptureItself(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.Rules = agent.Rules{Host: true}
	for name, where := range map[string]string{"by its cgroup": n.sys, "as a pod": n.a} {
		t.Run(name, func(t *testing.T) {
			o.Ring = t.TempDir()
			if where == n.a {
				o.PodUID = podA
			}
			p, addr := serveProcess(t, where, "127.0.0.1:0", o)
			defer p.kill()
			s := dial(t, agent.Options{Address: addr})
			got, stop := listen(t, s)
			for range 20 {
				flush(t, s)
			}
			n.talk(n.b, n.b).ask(2)
			flush(t, s)
			m := got.take()
			stop()
			if len(m) != 1 || m["pod/"+podB+"/"+boxB] == 0 {
				t.Errorf("got %v", m)
			}
		})
	}
}

// cutter is a way to an agent on which connections are cut after some bytes.
type cutter struct {
	addr string
	mean int64
	cuts atomic.Int64
	off  atomic.Bool
}

func (c *cutter) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	if c.off.Load() {
		return nil, errors.New("cut off")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, c.addr)
	if err != nil || c.mean == 0 {
		return conn, err
	}
	return &cutConn{Conn: conn, left: 1 + rand.Int64N(2*c.mean), c: c}, nil
}

type cutConn struct {
	net.Conn
	left int64
	c    *cutter
}

func (c *cutConn) Read(b []byte) (int, error) {
	if c.left <= 0 {
		c.c.cuts.Add(1)
		c.Conn.Close()
		return 0, errors.New("cut")
	}
	n, err := c.Conn.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

func TestCutConnectionsLoseAndDoubleNothing(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.Segment = 256 << 10
	addr := serve(t, o)
	whole := dial(t, agent.Options{Address: addr})
	way := &cutter{addr: addr, mean: 100_000}
	s := dial(t, agent.Options{Address: addr, DialContext: (&cutter{addr: addr}).dial, DialStream: way.dial})
	all, _ := listen(t, whole)
	got, _ := listen(t, s)
	client := n.talk(n.a, n.b)
	for range 8 {
		client.ask(150)
		if _, err := s.Client().Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	flush(t, s)
	flush(t, whole)
	want, have := all.take(), got.take()
	if fmt.Sprint(have) != fmt.Sprint(want) || want["pod/"+podA+"/"+boxA] < 1200*5 {
		t.Errorf("got %v, want %v", have, want)
	}
	got.mu.Lock()
	defer got.mu.Unlock()
	if len(got.cookies) != len(all.cookies) {
		t.Errorf("%d different packets, want %d", len(got.cookies), len(all.cookies))
	}
	if st := s.Stats(); st.Dropped != 0 || len(s.Gaps()) > 0 || way.cuts.Load() < 5 {
		t.Errorf("dropped %d, gaps %v, %d cuts", st.Dropped, s.Gaps(), way.cuts.Load())
	}
}

func TestWhatARestartCostsIsStated(t *testing.T) {
	n := newNode(t)
	o := n.options()
	p, addr := serveProcess(t, "", "127.0.0.1:0", o)
	s := dial(t, agent.Options{Address: addr})
	got, _ := listen(t, s)
	client := n.talk(n.a, n.b)
	client.ask(10)
	flush(t, s)
	before := got.take()["pod/"+podA+"/"+boxA]
	p.kill()
	client.ask(10) // nobody captures
	p, _ = serveProcess(t, "", addr, o)
	flush(t, s)
	client.ask(10)
	flush(t, s)
	after := got.take()["pod/"+podA+"/"+boxA]
	if before < 40 || after < 40 || after > before+20 {
		t.Errorf("%d packets before, %d after", before, after)
	}
	st := s.Stats()
	if gaps := s.Gaps(); len(gaps) != 1 || !strings.Contains(gaps[0].Why, "restarted") || st.Dropped != 2 || st.Unattributed() != 0 {
		t.Errorf("gaps %+v, stats %+v", gaps, st)
	}
	for _, ifc := range st.Interfaces { // whoever spoke on the node is suspected, and nobody else
		if ifc.Dropped != 1 {
			t.Errorf("%s lost %d, want 1", ifc.Name, ifc.Dropped)
		}
	}
	// A ring in another folder is another ring: its segments have the same numbers, and all of it is new.
	p.kill()
	o.Ring = t.TempDir()
	serveProcess(t, "", addr, o)
	flush(t, s)
	client.ask(10)
	flush(t, s)
	if again := got.take()["pod/"+podA+"/"+boxA]; again < 40 || len(s.Gaps()) != 2 {
		t.Errorf("%d packets of the next ring, gaps %+v", again, s.Gaps())
	}
}

func TestARingThatWasOverrunIsCounted(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.RingSize, o.Segment = 2<<20, 256<<10
	addr := serve(t, o)
	way := &cutter{addr: addr}
	s := dial(t, agent.Options{Address: addr, DialContext: (&cutter{addr: addr}).dial, DialStream: way.dial})
	way.off.Store(true)
	got, _ := listen(t, s)
	flood := start(t, n.a, "flood", "")
	flood.ask(20000, 10000) // about 4 MiB a direction
	h, err := s.Client().Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	way.off.Store(false)
	flush(t, s)
	got.mu.Lock()
	total := got.total
	got.mu.Unlock()
	st := s.Stats()
	if uint64(total)+st.Dropped != 20000+h.Dropped || st.Dropped < 5000 || total == 0 {
		t.Errorf("%d came and %d are counted as lost, of 20000; health %+v", total, st.Dropped, h)
	}
	var size int64
	files, _ := filepath.Glob(filepath.Join(o.Ring, "*.pcapng"))
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			size += info.Size()
		}
	}
	if size > o.RingSize+2*o.Segment {
		t.Errorf("the ring has %d bytes, and its bound is %d", size, o.RingSize)
	}
}

func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	n := newNode(t)
	addr := serve(t, n.options())
	slow, err := agent.NewClient(agent.ClientOptions{Address: addr, Token: token}).Boundaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, err := agent.NewClient(agent.ClientOptions{Address: addr, Token: token}).Stream(t.Context(), slow.Position)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close() // and is never read
	stuck := dial(t, agent.Options{Address: addr, Buffer: 1})
	block := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	var once sync.Once
	go func() {
		done <- stuck.Run(ctx, func(*traffic.Packet) { once.Do(func() { <-block }) })
	}()
	s := dial(t, agent.Options{Address: addr})
	got, _ := listen(t, s)
	start(t, n.a, "flood", "").ask(20000, 20000)
	flush(t, s)
	if m := got.take()["pod/"+podA+"/"+boxA]; uint64(m)+s.Stats().Dropped < 40000 {
		t.Errorf("%d packets came, %d were lost, of 40000", m, s.Stats().Dropped)
	}
	close(block)
	flush(t, stuck) // once it reads, it gets everything
	if st := stuck.Stats(); st.Received+st.Dropped < 40000 {
		t.Errorf("the slow one got %d, and lost %d", st.Received, st.Dropped)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	stuck.Close()
}

func request(t *testing.T, method, url, token, body string) (int, agent.Problem, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	var p agent.Problem
	json.Unmarshal(b, &p)
	return res.StatusCode, p, string(b)
}

func TestTheAPIRefuses(t *testing.T) {
	n := newNode(t)
	base := "http://" + serve(t, n.options())
	for _, path := range []string{"/health", "/version", "/segments", "/segments/1", "/stream", "/targets", "/metrics", "/nothing"} {
		for _, wrong := range []string{"", "x", token + "x", strings.ToUpper(token)} {
			if code, p, _ := request(t, "GET", base+path, wrong, ""); code != 401 || p.Hint == "" {
				t.Errorf("%s with token %q: %d %+v", path, wrong, code, p)
			}
		}
	}
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/nothing", "", 404},
		{"GET", "/segments/99", "", 404},
		{"GET", "/segments/x", "", 400},
		{"GET", "/segments?after=-1", "", 400},
		{"GET", "/stream?after=x.1", "", 400},
		{"GET", "/stream?after=x.1.-1", "", 400},
		{"POST", "/snapshot?from=2&to=1", "", 400},
		{"POST", "/snapshot?from=" + strings.Repeat("9", 5000), "", 400},
		{"PUT", "/targets", `{"pods":["../x"]}`, 400},
		{"PUT", "/targets", `{"ports":[0]}`, 400},
		{"PUT", "/targets", `{"unknown":"perhaps"}`, 400},
		{"PUT", "/targets", `{"pod":[]}`, 400},
		{"PUT", "/targets", `{"ports":[` + strings.TrimSuffix(strings.Repeat("1,", 2000), ",") + `]}`, 400},
		{"PUT", "/targets", `{"pods":["` + strings.Repeat("a", 2<<20) + `"]}`, 400},
	} {
		if code, p, _ := request(t, c.method, base+c.path, token, c.body); code != c.code || p.Message == "" || p.Hint == "" || len(p.Message) > 500 {
			t.Errorf("%s %.60s: %d %+v", c.method, c.path, code, p)
		}
	}
	if _, err := nodeagent.Open(nodeagent.Options{Token: "short", Ring: t.TempDir()}); err == nil {
		t.Error("a short token is taken")
	}
	if _, err := agent.Dial(t.Context(), agent.Options{Address: strings.TrimPrefix(base, "http://"), Token: "wrong"}); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("dialled with a wrong token: %v", err)
	}
}

func TestWhatTheAPIAnswers(t *testing.T) {
	n := newNode(t)
	base := "http://" + serve(t, n.options())
	c := agent.NewClient(agent.ClientOptions{Address: strings.TrimPrefix(base, "http://"), Token: token})
	defer c.Close()
	from := time.Now()
	n.talk(n.a, n.b).ask(5)
	snapshot, err := c.Snapshot(t.Context(), from, time.Time{})
	if err != nil || len(snapshot.Segments) != 1 || snapshot.Segments[0].Packets < 40 {
		t.Fatalf("snapshot %+v, %v", snapshot, err)
	}
	body, err := c.Segment(t.Context(), snapshot.Segments[0].Seq)
	if err != nil {
		t.Fatal(err)
	}
	file, _ := io.ReadAll(body)
	body.Close()
	var count uint64
	rd := pcapfile.NewReader(bytes.NewReader(file))
	var p traffic.Packet
	for ; rd.Next(&p) == nil; count++ {
	}
	if count != snapshot.Segments[0].Packets {
		t.Errorf("the segment has %d packets, and says %d", count, snapshot.Segments[0].Packets)
	}
	req, _ := http.NewRequest("GET", fmt.Sprint(base, "/segments/", snapshot.Segments[0].Seq), nil)
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Range", "bytes=100-199")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	part, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != 206 || !bytes.Equal(part, file[100:200]) {
		t.Errorf("a range: %d, %d bytes", res.StatusCode, len(part))
	}
	b, err := c.Boundaries(t.Context())
	if err != nil || b.Packets != count || b.Oldest < from.UnixNano() || b.Newest < b.Oldest || b.Source != "tap" || b.Degraded != "" {
		t.Errorf("boundaries %+v, %v", b, err)
	}
	h, err := c.Health(t.Context())
	if err != nil || !h.OK || h.Kernel == "" || h.RSS == 0 || h.CGroups < 8 || h.Packets != count {
		t.Errorf("health %+v, %v", h, err)
	}
	_, _, text := request(t, "GET", base+"/metrics", token, "")
	for _, want := range []string{fmt.Sprintf("devloop_agent_packets_total %d\n", count), "devloop_agent_kernel_dropped_total 0\n", "process_resident_memory_bytes ", "process_cpu_seconds_total ", "devloop_agent_healthy 1\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics lack %q:\n%s", want, text)
		}
	}
}

// What curl writes is one file of several sections, with packets in all of them.
func TestTheStreamOpensInWireshark(t *testing.T) {
	curl, tshark := testenv.NeedsProgram(t, "curl"), testenv.NeedsProgram(t, "tshark")
	n := newNode(t)
	addr := serve(t, n.options())
	c := agent.NewClient(agent.ClientOptions{Address: addr, Token: token})
	defer c.Close()
	path := filepath.Join(t.TempDir(), "stream.pcapng")
	cmd := exec.Command(curl, "-sN", "-m", "20", "-H", "Authorization: Bearer "+token, "-o", path, "http://"+addr+"/stream")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	if !poll(func() bool { h, err := c.Health(t.Context()); return err == nil && h.Streams == 1 }) {
		t.Fatal("curl did not connect")
	}
	client := n.talk(n.a, n.b)
	client.ask(2)
	if _, err := c.Rotate(t.Context()); err != nil { // the next section
		t.Fatal(err)
	}
	client.ask(2)
	var got, errs bytes.Buffer
	if !poll(func() bool {
		got.Reset()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		read := exec.CommandContext(ctx, tshark, "-n", "-r", path, "-Y", "http.request", "-T", "fields", "-e", "http.request.uri")
		read.Stdout, read.Stderr = &got, &errs
		read.Run()
		// Each request leaves one pod and comes, with its headers only, to another.
		return strings.Count(got.String(), "/0") == 2 && strings.Count(got.String(), "/1") == 2
	}) {
		t.Errorf("tshark saw %q; it says: %s", got.String(), errs.String())
	}
}

// In every pod's network namespace, also of those that come later; the agent's own and what was deleted are left out.
func TestAFPacketWhereTheTapIsRefused(t *testing.T) {
	testenv.NeedsRoot(t)
	ip := testenv.NeedsProgram(t, "ip")
	dir := t.TempDir()
	id := fmt.Sprintf("%x", os.Getpid()&0xfffff)
	netns := func(name string) {
		for _, args := range [][]string{{"netns", "add", name + id}, {"-n", name + id, "link", "set", "lo", "up"}} {
			if out, err := exec.Command(ip, args...).CombinedOutput(); err != nil {
				t.Fatalf("ip %v: %v: %s", args, err, out)
			}
		}
		t.Cleanup(func() { exec.Command(ip, "netns", "del", name+id).Run() })
		if err := os.Symlink("/run/netns/"+name+id, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	netns("cni-a")
	os.Symlink("/proc/self/ns/net", filepath.Join(dir, "own"))
	addr := serve(t, nodeagent.Options{Node: "n1", Token: token, CGroups: []string{"/host/none"}, Ring: t.TempDir(), NetNS: dir})
	s := dial(t, agent.Options{Address: addr})
	got, _ := listen(t, s)
	say := func(name string) bool {
		return poll(func() bool {
			exec.Command(ip, "netns", "exec", name+id, "sh", "-c", "echo hi > /dev/udp/127.0.0.1/9; bash -c 'echo hi > /dev/udp/127.0.0.1/9'").Run()
			flush(t, s)
			return got.take()["netns/"+name] > 0
		})
	}
	if !say("cni-a") {
		t.Error("nothing of the first namespace")
	}
	netns("cni-b")
	if !say("cni-b") {
		t.Error("nothing of a namespace that came later")
	}
	for _, ifc := range s.Interfaces() {
		if strings.Contains(ifc.Name, "own") {
			t.Error("the agent captures itself")
		}
	}
	b, err := s.Client().Boundaries(t.Context())
	if err != nil || b.Source != "afpacket" || !strings.Contains(b.Degraded, "/host/none") {
		t.Errorf("boundaries %+v, %v", b, err)
	}
	if targets, err := s.Client().Targets(t.Context()); err != nil || targets.Note == "" {
		t.Errorf("targets %+v, %v", targets, err)
	}
}

func TestMergedNodes(t *testing.T) {
	n, m := newNode(t), newNode(t)
	one, two := dial(t, agent.Options{Address: serve(t, n.options()), Node: "n1"}), dial(t, agent.Options{Address: serve(t, m.options()), Node: "n2"})
	s := agent.Merge(one, two)
	got, _ := listen(t, s)
	n.talk(n.a, n.b).ask(3)
	m.talk(m.a, m.a).ask(3)
	flush(t, s)
	st := s.Stats()
	if m := got.take(); len(m) != 2 || len(st.Interfaces) != 3 || st.Dropped != 0 {
		t.Errorf("got %v, stats %+v", m, st)
	}
	for i, ifc := range st.Interfaces {
		if ifc.Index != i || ifc.Packets == 0 {
			t.Errorf("interface %d is %+v", i, ifc)
		}
	}
	if c := one.Clock(); c.Error <= 0 || c.Offset.Abs() > c.Error+time.Millisecond {
		t.Errorf("on one machine the clocks are %+v apart", c)
	}
}

// 50,000 packets a second: every one is delivered or counted as lost.
func TestFiftyThousandPacketsASecond(t *testing.T) {
	n := newNode(t)
	p, addr := serveProcess(t, "", "127.0.0.1:0", n.options())
	s := dial(t, agent.Options{Address: addr})
	var count atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, func(*traffic.Packet) { count.Add(1) }) }()
	const each = 75000 // twice: sent and received
	ns, _ := strconv.ParseInt(start(t, n.a, "flood", "").ask(25000, each), 10, 64)
	flush(t, s)
	h, err := s.Client().Health(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if got := uint64(count.Load()); got+st.Dropped != 2*each || st.Received != got {
		t.Errorf("%d came and %d are counted as lost, of %d", got, st.Dropped, 2*each)
	}
	seconds := float64(ns) / 1e9
	t.Logf("%.0f packets/s, %d lost; agent: %.1f MiB resident, %.2f of the 64 MiB; CPU %.2f of a core", 2*each/seconds, st.Dropped, float64(h.RSS)/(1<<20), float64(h.RSS)/(64<<20), h.CPU/seconds)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.Close()
	p.kill()
}
