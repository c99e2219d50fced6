package localenv

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/internal/testenv"
)

// dependOn is a configuration of one dependency.
func dependOn(name string, d config.Dependency) *config.Config {
	return &config.Config{Dependencies: map[string]config.Dependency{name: d}}
}

func TestRedisRunsAsALocalCommand(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsProgram(t, "redis-server")
	t.Parallel()
	e := newEnv(t, dependOn("cache", config.Dependency{Ports: map[string]int{"redis": 6379},
		Local: &config.LocalDependency{Command: "redis-server --port {{.Port.redis}} --dir {{.Data}} --protected-mode no"}}), false)
	if err := e.StartDependencies(t.Context()); err != nil {
		t.Fatal(err)
	}
	addr, _ := e.Address("cache", "redis")
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "PING\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "+PONG\r\n" {
		t.Errorf("got %q, %v", line, err)
	}
	inst := e.Instances()[0]
	if inst.Kind != "dependency" || inst.StandIn || inst.CGroup == 0 {
		t.Errorf("instance %+v", inst)
	}
	if err := e.StartDependencies(t.Context()); err != nil || e.Instances()[0].PID != inst.PID {
		t.Errorf("a second StartDependencies started it again (%v)", err)
	}
}

// The workspace is closed to other users, as one below /root is, and PostgreSQL refuses to run as root.
func TestPostgresRunsAsItsUserInAClosedWorkspace(t *testing.T) {
	testenv.NeedsRoot(t)
	if _, err := findProgram("initdb", "/"); err != nil {
		t.Skip("needs PostgreSQL's initdb")
	}
	if _, err := credential("postgres"); err != nil {
		t.Skip("needs the user postgres")
	}
	workspace := t.TempDir()
	if err := os.Chmod(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	cfg := dependOn("db", config.Dependency{Ports: map[string]int{"sql": 5432}, Local: &config.LocalDependency{
		Init: "initdb -D {{.Data}} -A trust -N", User: "postgres",
		Command: `postgres -D {{.Data}} -p {{.Port.sql}} -k {{.Data}} -c fsync=off -c listen_addresses=*`}})
	for run := range 3 {
		loopback := run == 2 // which has no namespace to mount the folder in
		e, err := New(t.Context(), Options{Workspace: workspace, Config: cfg, Loopback: loopback})
		if err != nil {
			t.Fatal(err)
		}
		err = e.StartDependencies(t.Context())
		if err != nil {
			t.Error(err)
		} else {
			inst := e.Instances()[0]
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", inst.PID))
			if strings.Contains(string(status), "Uid:\t0\t") {
				t.Error("it runs as root")
			}
			syscall.Kill(inst.PID, syscall.SIGKILL)
			if x := <-e.Exited(); x.Service != "db" || x.Signal != "killed" {
				t.Errorf("exit %+v", x)
			}
			if err := e.StartDependencies(t.Context()); err != nil {
				t.Errorf("after it was killed: %v", err)
			}
		}
		mark, _ := os.Stat(filepath.Join(workspace, ".devloop/local/data/db.initialised"))
		if mark == nil {
			t.Errorf("run %d: the folder is not marked as initialised", run)
		}
		if err := e.Down(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(openDataRoot(e.Hash())); err == nil {
			t.Errorf("%s is left", openDataRoot(e.Hash()))
		}
	}
}

func TestMissingProgramRunsItsStandIn(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	exe, _ := os.Executable()
	d := config.Dependency{Ports: map[string]int{"http": 8080}, Env: map[string]string{"ADDR": ":{{.Port.http}}"},
		Local: &config.LocalDependency{Command: "surely-not-installed --port 1", Fallback: "env LOCALENV_TEST_ROLE=serve " + exe}}
	e := newEnv(t, dependOn("broker", d), false)
	if err := e.StartDependencies(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inst := e.Instances()[0]; !inst.StandIn {
		t.Errorf("instance %+v is not labelled", inst)
	}
	if target := e.Targets()[0]; target.Workload.Labels["stand-in"] != "true" {
		t.Errorf("target %+v is not labelled", target)
	}
	labelled := false
	for _, id := range e.Identities() {
		labelled = labelled || id.Workload.Service == "broker" && id.Workload.Labels["stand-in"] == "true"
	}
	if w := strings.Join(e.Warnings(), "\n"); !labelled || !strings.Contains(w, "broker is a stand-in") {
		t.Errorf("labelled %v, warnings %q", labelled, w)
	}
	d.Local.Fallback = ""
	e = newEnv(t, dependOn("broker", d), false)
	if err := e.StartDependencies(t.Context()); err == nil || !strings.Contains(err.Error(), "surely-not-installed") {
		t.Errorf("without a fallback: %v", err)
	}
}

func TestFailedInitIsTriedAgain(t *testing.T) {
	testenv.NeedsRoot(t)
	t.Parallel()
	d := config.Dependency{Ports: map[string]int{"x": 1}, Local: &config.LocalDependency{
		Command: "sleep 1000", Init: "sh -c 'echo half > {{.Data}}/half; echo no disk; exit 9'"}}
	e := newEnv(t, dependOn("db", d), false)
	for range 2 {
		err := e.StartDependencies(t.Context())
		if err == nil || !strings.Contains(err.Error(), "exit status 9") || !strings.Contains(err.Error(), "no disk") {
			t.Errorf("got %v", err)
		}
		left, _ := os.ReadDir(filepath.Join(e.stateDir, "local/data/db"))
		if len(left) > 0 {
			t.Errorf("left after a failed init: %v", left)
		}
	}
}

// The image is built here, from the test's own server, so that nothing has to be pulled.
func TestDependencyInAContainer(t *testing.T) {
	testenv.NeedsRoot(t)
	c, err := engine(t.Context())
	if err != nil {
		t.Skipf("needs a container engine: %v", err)
	}
	c.Close()
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	image := buildImage(t)
	e := newEnv(t, dependOn("echo", config.Dependency{Image: image, Ports: map[string]int{"tcp": 7000}}), false)
	if err := e.StartDependencies(t.Context()); err != nil {
		t.Fatal(err)
	}
	if inst := e.Instances()[0]; inst.Container == "" {
		t.Errorf("instance %+v names no container", inst)
	}
	addr, _ := e.Address("echo", "tcp")
	conn, err := net.DialTimeout("tcp", addr.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "hello")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
		t.Errorf("got %q, %v", line, err)
	}
}

// buildImage makes an image of nothing but a static echo server.
func buildImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"Dockerfile": "FROM scratch\nCOPY echo /echo\nEXPOSE 7000\nENTRYPOINT [\"/echo\"]\n",
		"go.mod":     "module echo\ngo 1.26\n",
		"main.go": `package main

import ("io"; "net")

func main() {
	l, err := net.Listen("tcp", ":7000")
	if err != nil { panic(err) }
	for {
		c, err := l.Accept()
		if err != nil { panic(err) }
		go func() { io.Copy(c, c); c.Close() }()
	}
}
`}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "echo", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	provider, err := testcontainers.NewDockerProvider()
	if err != nil {
		t.Fatal(err)
	}
	defer provider.Close()
	name, err := provider.BuildImage(t.Context(), &testcontainers.ContainerRequest{FromDockerfile: testcontainers.FromDockerfile{
		Context: dir, Repo: "devloop-test-echo", Tag: "local", KeepImage: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { exec.CommandContext(context.Background(), "docker", "image", "rm", "-f", name).Run() })
	return name
}

// Connections that pass through a forward keep their halves, and close ends them.
func TestForward(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				text, _ := bufio.NewReader(c).ReadString(0) // until the client's half is closed
				fmt.Fprint(c, strings.ToUpper(text))
				c.Close()
			}()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := newForward(l, server.Addr().String())
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "hello")
	conn.(*net.TCPConn).CloseWrite()
	if text, err := bufio.NewReader(conn).ReadString(0); text != "HELLO" {
		t.Errorf("got %q, %v", text, err)
	}
	idle, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f.close()
	idle.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("an idle connection outlived close: %v", err)
	}
}
