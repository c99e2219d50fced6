package cluster

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What engines print, as it was seen.
func TestEngineError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, output string
		err          error
		want         Reason
		says         string
	}{
		{"no socket", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", nil, NoEngine, "unix:///var/run/docker.sock"},
		{"no socket, Docker 29", "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct and if the daemon is running", nil, NoEngine, "unix:///var/run/docker.sock"},
		{"no rights", `permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.50/containers/json": dial unix /var/run/docker.sock: connect: permission denied`, nil, NoRights, "permission denied"},
		{"no rights, Docker 20", "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock", nil, NoRights, "permission denied"},
		{"disk full", "docker: Error response from daemon: mkdir /var/lib/docker/overlay2/x: no space left on device.", nil, DiskFull, "no space left"},
		{"no docker", "", exec.ErrNotFound, NoEngine, "no docker command"},
		{"permission denied of something else", "docker: Error response from daemon: open /x: permission denied", nil, "", ""},
		{"something else", "Error: No such container: x", nil, "", ""},
	} {
		under := c.err
		if under == nil {
			under = errors.New("exit status 1")
		}
		got := engineError(&commandError{[]string{"ps"}, c.output, under})
		switch {
		case got == nil && c.want == "":
		case got == nil || got.Reason != c.want || !strings.Contains(got.What, c.says) || got.Hint == "":
			t.Errorf("%s: %+v, want %s with %q", c.name, got, c.want, c.says)
		}
	}
}

// TestEngineHangs asks one that takes connections and says nothing.
func TestEngineHangs(t *testing.T) {
	if !onPath("docker") {
		t.Skip("needs the docker command: it is what hangs")
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("DOCKER_HOST", "unix://"+socket)
	_, err = asked(t.Context(), 200*time.Millisecond, "ps")
	if known := engineError(err); known == nil || known.Reason != NoEngine || !strings.Contains(known.What, "did not answer within 200ms") || known.Hint == "" {
		t.Errorf("%v", err)
	}
}

func TestImageError(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]string{
		"Error response from daemon: pull access denied for kindest/nope, repository does not exist or may require 'docker login'":            "there is no node image x:1",
		"Error response from daemon: manifest for kindest/node:v9 not found: manifest unknown: manifest unknown":                              "there is no node image x:1",
		`Error response from daemon: Get "https://registry.example/v2/": dial tcp: lookup registry.example on 10.255.255.53:53: no such host`: "pulling it failed",
	} {
		err := imageError("x:1", &commandError{[]string{"pull"}, output, errors.New("exit status 1")})
		if err.Reason != NoImage || !strings.Contains(err.What, want) || !strings.Contains(err.Hint, "--node-image") {
			t.Errorf("%s: %+v, want %q", output, err, want)
		}
	}
}

// TestCreateRefused asks for what cannot begin: nothing may be left of it.
func TestCreateRefused(t *testing.T) {
	home := Folder(t.TempDir())
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/no.sock")
	path := os.Getenv("PATH")
	for _, c := range []struct {
		name string
		o    CreateOptions
		want Reason
		path string
	}{
		{"no socket", CreateOptions{Name: "shop"}, NoEngine, path},
		{"no docker", CreateOptions{Name: "shop"}, NoEngine, "/nowhere"},
		{"bad name", CreateOptions{Name: "Shop"}, BadConfig, path},
		{"bad file", CreateOptions{Name: "shop", Config: "nowhere.yaml"}, BadConfig, path},
		{"too many nodes", CreateOptions{Name: "shop", Nodes: 500}, BadConfig, path},
	} {
		if c.want == NoEngine && c.path == path && !onPath("docker") {
			continue
		}
		t.Setenv("PATH", c.path)
		if _, err := home.Create(t.Context(), c.o); !Is(err, c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if left, err := os.ReadDir(string(home)); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func onPath(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

func TestMarkMade(t *testing.T) {
	t.Parallel()
	nodes := []container{{ID: "a"}, {ID: "b"}}
	for _, c := range []struct {
		name string
		mark *mark
		want bool
	}{
		{"no mark", nil, false},
		{"killed while it was made", &mark{}, true},
		{"the same containers", &mark{Nodes: []string{"a", "b"}}, true},
		{"others of the same name", &mark{Nodes: []string{"c", "d"}}, false},
		{"one more", &mark{Nodes: []string{"a"}}, false},
	} {
		if got := c.mark.made(nodes); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestLockIsGivenUp(t *testing.T) {
	t.Parallel()
	home := Folder(t.TempDir())
	unlock, err := home.lock(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := home.lock(ctx, "shop"); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for a lock: %v", err)
	}
	unlock()
	again, err := home.lock(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	again()
}
