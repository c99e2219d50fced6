package localenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// The test binary is also the program that tests run as services: its first argument says what it plays.
func TestMain(m *testing.M) {
	if role := os.Getenv("LOCALENV_TEST_ROLE"); role != "" {
		play(role)
		return
	}
	os.Exit(m.Run())
}

// play is one of the parts: a server, one that crashes, one that never listens, the owner of an environment.
func play(role string) {
	switch role {
	case "serve":
		serve(os.Getenv("ADDR"))
	case "crash":
		for i := range 100 {
			fmt.Println("line", i)
		}
		fmt.Fprintln(os.Stderr, "panic: no gateway configured")
		os.Exit(3)
	case "idle":
		fmt.Println("I never listen")
		forever()
	case "own":
		own()
	case "child": // starts a grandchild that ignores SIGTERM, and serves
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; sleep 1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Start()
		serve(os.Getenv("ADDR"))
	}
}

// serve answers what tests ask: /name, /get?url=…, /lookup?name=…, /crash, /from.
func serve(addr string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/name", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, os.Getenv("NAME")) })
	mux.HandleFunc("/from", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	mux.HandleFunc("/agent", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.UserAgent()) })
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		io.Copy(w, resp.Body)
	})
	mux.HandleFunc("/lookup", func(w http.ResponseWriter, r *http.Request) {
		addrs, err := net.DefaultResolver.LookupHost(r.Context(), r.URL.Query().Get("name"))
		fmt.Fprint(w, addrs, err)
	})
	mux.HandleFunc("/crash", func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("about to crash")
		os.Exit(7)
	})
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != ProbeUserAgent {
			http.Error(w, "not a probe: "+r.UserAgent(), http.StatusForbidden)
		}
	})
	fmt.Println("listening on", addr)
	fmt.Println(http.ListenAndServe(addr, mux))
	os.Exit(1)
}

// own makes an environment, starts a service in it, says so and waits to be killed.
func own() {
	e, err := New(context.Background(), Options{Workspace: os.Getenv("WORKSPACE"), Config: shop(), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		_, err = e.Start(context.Background(), "payment", testBuild("child", ""))
	}
	fmt.Println("owner:", err)
	forever()
}

// forever waits to be killed. An empty select would be a deadlock to the runtime in a program that does nothing else.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

// shop is two services on the same port, and a third party.
func shop() *config.Config {
	service := func(name string) config.Service {
		return config.Service{Ports: map[string]int{"http": 8080}, Env: map[string]string{"ADDR": ":8080", "NAME": name}}
	}
	stripe := service("gateway")
	stripe.Hosts, stripe.Outside = []string{"api.payments.example"}, true
	return &config.Config{Services: map[string]config.Service{"payment": service("payment"), "orders": service("orders"), "gateway": stripe}}
}

// testBuild runs the test binary in a role.
func testBuild(role, id string) Build {
	exe, _ := os.Executable()
	return Build{ID: id, Path: "/usr/bin/env", Argv: []string{"env", "LOCALENV_TEST_ROLE=" + role, exe}}
}

// newEnv makes an environment that the test's end takes down, and fails the test when something is left.
func newEnv(t *testing.T, cfg *config.Config, loopback bool) *Env {
	t.Helper()
	e, err := New(t.Context(), Options{Workspace: t.TempDir(), Config: cfg, Loopback: loopback, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func start(t *testing.T, e *Env, service, role string) *Instance {
	t.Helper()
	inst, err := e.Start(t.Context(), service, testBuild(role, "b-"+service))
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

// askService asks a service from the host.
func askService(t *testing.T, e *Env, service, path string) string {
	t.Helper()
	addr, ok := e.Address(service, "http")
	if !ok {
		t.Fatalf("%s has no address", service)
	}
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestServicesMeetByNameOnTheSamePort(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	var targets []Target
	var mu sync.Mutex
	e.OnTarget(func(target Target) {
		mu.Lock()
		defer mu.Unlock()
		targets = append(targets, target)
		if pids := (cgroup{path: target.CGroupPath}).pids(); len(pids) > 0 {
			t.Errorf("target %s was announced after processes %v were in it", target.Name, pids)
		}
	})
	for _, name := range []string{"payment", "orders", "gateway"} {
		start(t, e, name, "serve")
	}
	for _, tc := range []struct{ url, want string }{
		{"http://orders:8080/name", "orders"},
		{"http://payment:8080/name", "payment"},
		{"http://orders.shop.svc.cluster.local:8080/name", "orders"},
		{"http://orders.default:8080/name", "orders"},
		{"http://api.payments.example:8080/name", "gateway"},
		{"http://localhost:8080/name", "payment"},
	} {
		if got := askService(t, e, "payment", "/get?url="+tc.url); got != tc.want {
			t.Errorf("payment asks %s: got %q, want %q", tc.url, got, tc.want)
		}
	}
	for _, name := range []string{"ordrs", "nothing.shop.svc.cluster.local"} {
		began := time.Now()
		if got := askService(t, e, "payment", "/lookup?name="+name); !strings.Contains(got, "no such host") {
			t.Errorf("lookup of %s: got %q, want no such host", name, got)
		}
		if took := time.Since(began); took > 4*time.Second { // resolvers ask again after 5 s
			t.Errorf("lookup of %s took %s", name, took)
		}
	}
	orders, _ := e.Address("orders", "http")
	if got := askService(t, e, "payment", "/get?url=http://orders:8080/from"); strings.HasPrefix(got, orders.Addr().String()) || !strings.HasPrefix(got, "10.") {
		t.Errorf("orders sees %s, want payment's own address", got)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(targets) != 3 || targets[0].Name != "local/payment" || targets[0].Workload.Build != "b-payment" || !targets[2].Workload.Outside {
		t.Errorf("targets: %+v", targets)
	}
}

func TestRestartKeepsAddressAndChangesCGroup(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	other := start(t, e, "orders", "serve")
	first := start(t, e, "payment", "child")
	second := start(t, e, "payment", "serve")
	if first.IP != second.IP || first.NetNS != second.NetNS {
		t.Errorf("address and namespace changed: %v %v, then %v %v", first.IP, first.NetNS, second.IP, second.NetNS)
	}
	if first.CGroup == second.CGroup || first.CGroupPath == second.CGroupPath || first.PID == second.PID {
		t.Errorf("the second start has the first one's cgroup or process: %+v", second)
	}
	if _, err := os.Stat(first.CGroupPath); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first start's cgroup is still there, with processes %v", cgroup{path: first.CGroupPath}.pids())
	}
	if startTime(other.PID) == 0 {
		t.Error("the other service was ended")
	}
	if len(e.Targets()) != 2 || len(e.Instances()) != 2 {
		t.Errorf("want two targets and instances, got %+v, %+v", e.Targets(), e.Instances())
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", second.PID))
	if err != nil || !strings.Contains(string(text), "0::/devloop-"+e.Hash()+"/payment.") {
		t.Errorf("the process is in cgroup %q (%v)", text, err)
	}
}

func TestCrashWhileStartingCarriesTheTail(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	began := time.Now()
	_, err := e.Start(t.Context(), "payment", testBuild("crash", ""))
	var failed *StartError
	if !errors.As(err, &failed) || failed.Exit == nil || failed.Exit.Code != 3 {
		t.Fatalf("got %v, want a StartError with code 3", err)
	}
	if !strings.HasSuffix(failed.Tail, "panic: no gateway configured") || strings.Contains(failed.Tail, "line 5\n") {
		t.Errorf("tail: %q", failed.Tail)
	}
	if took := time.Since(began); took > 20*time.Second { // not after the time that it has to become ready
		t.Errorf("the crash was reported after %s", took)
	}
	if n := len(e.Instances()); n != 0 {
		t.Errorf("%d instances", n)
	}
}

func TestCrashWhileServingIsReported(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	inst := start(t, e, "payment", "serve")
	addr, _ := e.Address("payment", "http")
	if resp, err := http.Get("http://" + addr.String() + "/crash"); err == nil {
		resp.Body.Close()
	}
	select {
	case x := <-e.Exited():
		if x.Service != "payment" || x.Build != "b-payment" || x.Code != 7 || x.PID != inst.PID || !strings.HasSuffix(x.Tail, "about to crash") {
			t.Errorf("exit: %+v", x)
		}
	case <-time.After(20 * time.Second):
		t.Error("no exit was reported")
	}
}

func TestNeverReadySaysWhatWasProbed(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	cfg := shop()
	s := cfg.Services["payment"]
	s.Ready = &config.Ready{HTTP: &config.ReadyHTTP{Path: "/missing"}, Timeout: config.Duration(3 * time.Second)}
	cfg.Services["payment"] = s
	s = cfg.Services["orders"]
	s.Ready = &config.Ready{Timeout: config.Duration(200 * time.Millisecond)}
	cfg.Services["orders"] = s
	s = cfg.Services["gateway"]
	s.Ready = &config.Ready{Timeout: config.Duration(3 * time.Second)}
	s.Env["ADDR"] = "127.0.0.1:8080"
	cfg.Services["gateway"] = s
	e := newEnv(t, cfg, false)
	var wg sync.WaitGroup
	for _, tc := range []struct{ service, role, want string }{
		{"payment", "serve", "/missing: it answered 404"},
		{"orders", "idle", "nothing listens on port 8080"},
		{"gateway", "serve", "port 8080 of 127.0.0.1 only"},
	} {
		wg.Go(func() {
			_, err := e.Start(t.Context(), tc.service, testBuild(tc.role, ""))
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "not ready after") {
				t.Errorf("%s: got %v, want %q", tc.service, err, tc.want)
			}
		})
	}
	wg.Wait()
	if n := len(e.Instances()); n != 0 {
		t.Errorf("%d instances still run", n)
	}
}

func TestReadyByHTTPAndLog(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	cfg := shop()
	s := cfg.Services["payment"]
	s.Ready = &config.Ready{HTTP: &config.ReadyHTTP{Path: "/healthz"}, Log: `listening on :\d+`}
	cfg.Services["payment"] = s
	e := newEnv(t, cfg, false)
	start(t, e, "payment", "serve")
}

func TestPortTakenBySomebodyElse(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	u := e.units["payment"]
	if err := u.awaitWire(t.Context()); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if err := e.launcher.in(u.ns, func() (err error) { l, err = net.Listen("tcp", ":8080"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err := e.Start(t.Context(), "payment", testBuild("serve", ""))
	want := fmt.Sprintf("(process %d)", os.Getpid())
	if err == nil || !strings.Contains(err.Error(), "port 8080 (http) is taken") || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v", err)
	}
}

// kernelState lists what environments make, as the kernel and its tools see it.
func kernelState(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, argv := range [][]string{{"ip", "-o", "link", "show"}, {"nft", "list", "tables"}, {"ip", "route", "show", "table", "all"}} {
		text, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Skipf("needs %s: %v", argv[0], err)
		}
		out.Write(text)
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	out.Write(mounts)
	mount, err := cgroupMount()
	if err != nil {
		t.Fatal(err)
	}
	groups, _ := filepath.Glob(filepath.Join(mount, "*"))
	out.WriteString(strings.Join(groups, "\n"))
	return out.String()
}

// of keeps the lines that bear a hash.
func of(text, hash string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, hash) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestDownLeavesNothing(t *testing.T) {
	testenv.NeedsRoot(t)
	workspace := t.TempDir()
	e, err := New(t.Context(), Options{Workspace: workspace, Config: shop()})
	if err != nil {
		t.Fatal(err)
	}
	inst, err := e.Start(t.Context(), "payment", testBuild("child", ""))
	if err != nil {
		t.Fatal(err)
	}
	cmd := e.Command(t.Context(), ExerciseName, "/bin/sh", "-c", "sleep 1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	before := of(kernelState(t), e.Hash())
	for _, want := range []string{"dl" + e.Hash(), "devloop_" + e.Hash(), "devloop-" + e.Hash(), "/ns/payment", "/ns/@switch"} {
		if !strings.Contains(before, want) {
			t.Errorf("%s is not there while it runs:\n%s", want, before)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	began := time.Now()
	if err := e.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("down took %s", time.Since(began))
	<-ended
	if left := of(kernelState(t), e.Hash()); left != "" {
		t.Errorf("left:\n%s", left)
	}
	if startTime(inst.PID) != 0 || startTime(cmd.PID()) != 0 {
		t.Error("a process lives")
	}
	if _, err := os.Stat(filepath.Join(runRoot, e.Hash())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state's folder is there: %v", err)
	}
	if _, err := e.Start(t.Context(), "payment", testBuild("serve", "")); err == nil {
		t.Error("a start after down succeeded")
	}
}

func TestKilledOwnerIsCleanedUpAfter(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, how := range []string{"New", "Clean"} {
		t.Run(how, func(t *testing.T) {
			workspace := t.TempDir()
			hash := Hash(workspace)
			owner := startOwner(t, workspace)
			if _, err := New(t.Context(), Options{Workspace: workspace, Config: shop()}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("run by process %d", owner.Process.Pid)) {
				t.Errorf("a second environment of a living owner: %v", err)
			}
			if _, err := Clean(t.Context(), workspace, ""); !errors.As(err, new(*LockedError)) {
				t.Errorf("clean under a living owner: %v", err)
			}
			owner.Process.Kill()
			owner.Wait()
			mount, _ := cgroupMount()
			parent := cgroup{path: filepath.Join(mount, "devloop-"+hash)}
			if !parent.populated() {
				t.Error("the grandchild is gone already: this tests nothing")
			}
			if how == "New" {
				e, err := New(t.Context(), Options{Workspace: workspace, Config: shop()})
				if err != nil {
					t.Fatal(err)
				}
				start(t, e, "payment", "serve")
				if err := e.Down(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else {
				removed, err := Clean(t.Context(), workspace, "")
				if err != nil || len(removed) < 4 {
					t.Errorf("removed %q, %v", removed, err)
				}
				if removed, err := Clean(t.Context(), workspace, ""); err != nil || len(removed) > 0 {
					t.Errorf("a second time it removed %q, %v", removed, err)
				}
			}
			if left := of(kernelState(t), hash); left != "" {
				t.Errorf("left:\n%s", left)
			}
		})
	}
}

// startOwner runs the test binary as the owner of an environment, until its service is ready.
func startOwner(t *testing.T, workspace string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "LOCALENV_TEST_ROLE=own", "WORKSPACE="+workspace)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line := make([]byte, 1024)
	n, _ := out.Read(line)
	if got := string(bytes.TrimSpace(line[:n])); got != "owner: <nil>" {
		t.Fatalf("the owner says %q", got)
	}
	return cmd
}

func TestCommandReachesServicesAndEndsWithItsTree(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	start(t, e, "orders", "serve")
	exe, _ := os.Executable()
	var out bytes.Buffer
	cmd := e.Command(t.Context(), ExerciseName, "/bin/sh", "-c", "cat /etc/resolv.conf; echo $GREETING; pwd; cat /proc/self/cgroup; "+exe+" -test.list nothing; exit 5")
	cmd.Env = []string{"GREETING=hello"}
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err == nil || cmd.ExitCode() != 5 {
		t.Errorf("got %v and code %d, want 5", err, cmd.ExitCode())
	}
	for _, want := range []string{"nameserver " + e.net.addr(switchByte).String(), "hello", e.workspace, "/devloop-" + e.Hash() + "/exercise."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}

	// The words of a command are not ours to fill in, and its input is copied.
	out.Reset()
	cmd = e.Command(t.Context(), ExerciseName, "/bin/sh", "-c", "echo '{{.Dir}}'; cat")
	cmd.Stdin, cmd.Stdout = strings.NewReader("from stdin"), &out
	if err := cmd.Run(); err != nil || out.String() != "{{.Dir}}\nfrom stdin" {
		t.Errorf("got %q, %v", out.String(), err)
	}

	// A process that was left behind holds the output open; the end of the command ends it.
	began := time.Now()
	cmd = e.Command(t.Context(), ExerciseName, "/bin/sh", "-c", "sleep 1000 & exit 0")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd = e.Command(ctx, ExerciseName, "/bin/sh", "-c", "trap '' TERM; sleep 1000 & wait; sleep 1000")
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled command: %v", err)
	}
	if took := time.Since(began); took > 20*time.Second { // they sleep for longer
		t.Errorf("two commands took %s", took)
	}
}

// A host whose packet filter forwards nothing, as Docker leaves it, is made of namespaces, so that this one stays as it is.
func TestEgressThroughAFilterThatDrops(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "iptables-nft")
	testenv.NeedsProgram(t, "unshare")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c",
		`mount -t tmpfs none /run && echo 0 > /proc/sys/net/ipv4/ip_forward && ip link set lo up && iptables-nft -P FORWARD DROP && "$0" -test.v -test.run '^TestEgressGoesOut' && iptables-nft -S FORWARD && cat /proc/sys/net/ipv4/ip_forward`, exe)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestEgressGoesOut") || !strings.HasSuffix(string(out), "PASS\n-P FORWARD DROP\n0\n") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestEgressGoesOutUnderTheHostsAddress(t *testing.T) {
	testenv.NeedsRoot(t)
	e := newEnv(t, shop(), false)
	start(t, e, "payment", "serve")
	// A world outside: a namespace behind a link of the host, with a server in it.
	outside := filepath.Join(t.TempDir(), "outside")
	ns, err := makeNetNS(outside)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(outside, syscall.MNT_DETACH)
	defer ns.Close()
	link := fmt.Sprintf("dlt%d", os.Getpid()%100000)
	run := func(argv ...string) {
		t.Helper()
		if text, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", argv, err, text)
		}
	}
	run("ip", "link", "add", link, "type", "veth", "peer", "name", "out0", "netns", outside)
	defer exec.Command("ip", "link", "del", link).Run()
	run("ip", "addr", "add", "198.51.100.1/24", "dev", link)
	run("ip", "link", "set", link, "up")
	var l net.Listener
	err = e.launcher.in(ns, func() error {
		for _, argv := range [][]string{{"ip", "addr", "add", "198.51.100.2/24", "dev", "out0"}, {"ip", "link", "set", "out0", "up"}} {
			if text, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
				return fmt.Errorf("%v: %w: %s", argv, err, text)
			}
		}
		var err error
		l, err = net.Listen("tcp", "198.51.100.2:8099")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })}
	go server.Serve(l)
	defer server.Close()
	if got := askService(t, e, "payment", "/get?url=http://198.51.100.2:8099/"); !strings.HasPrefix(got, "198.51.100.1:") {
		t.Errorf("the outside sees %q, want the host's address 198.51.100.1; warnings %q", got, e.Warnings())
	}
}

func TestIdentities(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	e := newEnv(t, shop(), false)
	found := map[string]traffic.Workload{}
	for _, id := range e.Identities() {
		found[id.Workload.Service] = id.Workload
		if id.IP.Is4() == false || !e.net.subnet.Contains(id.IP) {
			t.Errorf("%s has address %s", id.Workload.Service, id.IP)
		}
	}
	for name, kind := range map[string]string{"payment": "service", "exercise": "exercise", "devloop": KindHost, "dns": KindHost} {
		if w := found[name]; w.Kind != kind || w.Namespace != "local" {
			t.Errorf("%s is %+v, want kind %s", name, w, kind)
		}
	}
	if !found["gateway"].Outside {
		t.Error("gateway is not outside")
	}
}

func TestLoopbackRewritesAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux")
	}
	t.Parallel()
	cfg := shop()
	s := cfg.Services["payment"]
	s.Env["PEER"] = "http://orders:8080/name"
	cfg.Services["payment"] = s
	e := newEnv(t, cfg, true)
	if mode, why := e.Mode(); mode != ModeLoopback || why == "" {
		t.Fatalf("mode %s (%s)", mode, why)
	}
	start(t, e, "orders", "serve")
	first := start(t, e, "payment", "child")
	inst := start(t, e, "payment", "serve")
	orders, _ := e.Address("orders", "http")
	env := strings.Join(inst.Environment, "\n")
	for _, want := range []string{"PEER=http://" + orders.String() + "/name", "DEVLOOP_ORDERS_HTTP=" + orders.String(),
		fmt.Sprintf("PORT=%d", inst.Ports["http"]), fmt.Sprintf("PORT_HTTP=%d", inst.Ports["http"])} {
		if !strings.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	if got := askService(t, e, "payment", "/get?url=http://"+orders.String()+"/name"); got != "orders" {
		t.Errorf("got %q", got)
	}
	if inst.Ports["http"] != first.Ports["http"] {
		t.Error("the port changed with a restart")
	}
	if w := strings.Join(e.Warnings(), "\n"); !strings.Contains(w, "share one loopback") || !strings.Contains(w, "PEER") {
		t.Errorf("warnings: %s", w)
	}
	cmd := e.Command(t.Context(), ExerciseName, "/bin/sh", "-c", "exit 4")
	if cmd.Run(); cmd.ExitCode() != 4 {
		t.Errorf("exit code %d", cmd.ExitCode())
	}
	if err := e.Down(t.Context()); err != nil {
		t.Error(err)
	}
	if startTime(inst.PID) != 0 {
		t.Error("the service lives")
	}
}
