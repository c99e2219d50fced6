//go:build linux

package localenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	moby "github.com/moby/moby/api/types/container"
	dockernet "github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/devloop-io/devloop/internal/config"
)

// engineBound is how long a container engine may take to answer before it counts as absent.
const engineBound = 300 * time.Millisecond

// workspaceLabel is on every container that is started, with the workspace's hash.
const workspaceLabel = "dev.devloop.workspace"

// container is a dependency that runs in a container. The engine publishes its ports on the host's loopback, and
// listeners of ours in the dependency's own network namespace pass connections on: peers see the declared name, address
// and port, wherever the engine runs.
type container struct {
	inst     Instance
	running  testcontainers.Container
	forwards []*forward
}

// engine connects to the container engine, when one answers.
func engine(ctx context.Context) (*client.Client, error) {
	c, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, engineBound)
	defer cancel()
	if _, err := c.Ping(ctx, client.PingOptions{}); err != nil {
		c.Close()
		return nil, fmt.Errorf("no container engine answers: %w", err)
	}
	return c, nil
}

// runContainer starts a dependency's image and waits until it is ready. The unit's turn is held.
func (e *Env) runContainer(ctx context.Context, u *unit, d config.Dependency) (*container, error) {
	// Ryuk, the remover of testcontainers-go, is an image more to pull; we remove by label ourselves.
	os.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	e.mu.Lock()
	e.st.Container = true
	err := e.save()
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	timeout := 2 * time.Minute // the image may have to be pulled
	if d.Ready != nil && d.Ready.Timeout > 0 {
		timeout = time.Duration(d.Ready.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := containerRequest(e.hash, u, d)
	if err != nil {
		return nil, err
	}
	running, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{ContainerRequest: req, Started: true, Logger: engineLog{e.log}})
	c := &container{running: running}
	if err != nil {
		if running != nil {
			err = errors.Join(err, c.close(context.WithoutCancel(ctx)))
		}
		return nil, fmt.Errorf("run image %s: %w", d.Image, err)
	}
	if err := e.publish(ctx, u, c, d.Ready); err != nil {
		return nil, errors.Join(err, c.close(context.WithoutCancel(ctx)))
	}
	c.inst = Instance{Service: u.name, Kind: u.kind, IP: u.ip, Ports: u.reachPorts(), NetNS: u.nsPath(e), Started: time.Now(), Container: running.GetContainerID()}
	return c, nil
}

// engineLog hands what testcontainers-go says to our own log, where nobody looks without asking.
type engineLog struct{ log *slog.Logger }

// Printf logs one line.
func (l engineLog) Printf(format string, args ...any) {
	l.log.Debug("testcontainers", "says", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// containerRequest says what to run: ports on the host's loopback only, ready as the configuration says.
func containerRequest(hash string, u *unit, d config.Dependency) (testcontainers.ContainerRequest, error) {
	req := testcontainers.ContainerRequest{Image: d.Image, Env: map[string]string{}, Labels: map[string]string{workspaceLabel: hash}}
	for name, value := range d.Env {
		expanded, err := config.Expand(value, os.LookupEnv)
		if err != nil {
			return req, fmt.Errorf("env %s: %w", name, err)
		}
		req.Env[name] = expanded
	}
	bindings := dockernet.PortMap{}
	var conditions []wait.Strategy
	for _, name := range slices.Sorted(maps.Keys(d.Ports)) {
		number := strconv.Itoa(d.Ports[name]) + "/tcp"
		port, err := dockernet.ParsePort(number)
		if err != nil {
			return req, fmt.Errorf("port %s: %w", name, err)
		}
		req.ExposedPorts = append(req.ExposedPorts, number)
		bindings[port] = []dockernet.PortBinding{{HostIP: netip.AddrFrom4([4]byte{127, 0, 0, 1}), HostPort: "0"}}
	}
	if d.Ready != nil && d.Ready.Log != "" {
		conditions = append(conditions, wait.ForLog(d.Ready.Log).AsRegexp())
	}
	if d.Ready != nil && d.Ready.HTTP != nil {
		conditions = append(conditions, wait.ForHTTP(d.Ready.HTTP.Path))
	}
	if len(conditions) > 0 {
		req.WaitingFor = wait.ForAll(conditions...)
	}
	req.HostConfigModifier = func(h *moby.HostConfig) { h.PortBindings = bindings }
	return req, nil
}

// publish waits for the container's ports and opens the declared ones where peers look for them.
func (e *Env) publish(ctx context.Context, u *unit, c *container, ready *config.Ready) error {
	host, err := c.running.Host(ctx)
	if err != nil {
		return fmt.Errorf("find the container's host: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(u.ports)) {
		mapped, err := c.running.MappedPort(ctx, strconv.Itoa(u.ports[name])+"/tcp")
		if err != nil {
			return fmt.Errorf("find the container's port %s: %w", name, err)
		}
		at := net.JoinHostPort(host, mapped.Port())
		if ready == nil || ready.TCP == "" || ready.TCP == name {
			if err := awaitPublished(ctx, at); err != nil {
				return fmt.Errorf("port %s: %w", name, err)
			}
		}
		var l net.Listener
		open := func() (err error) { l, err = net.Listen("tcp4", u.hostAddr(name)); return err }
		if e.mode == ModeNetNS {
			err = e.launcher.in(u.ns, open)
		} else {
			err = open()
		}
		if err != nil {
			return fmt.Errorf("open port %s: %w", name, err)
		}
		c.forwards = append(c.forwards, newForward(l, at))
	}
	return nil
}

// awaitPublished waits until a published port leads to a server. The engine's own proxy accepts connections before the
// container does, and closes them at once: a connection counts that stays open for a moment, or on which data comes.
// Looking for a listener from inside, as testcontainers-go does, takes a shell that small images do not have.
func awaitPublished(ctx context.Context, at string) error {
	for wait := pollFirst; ; wait = min(wait*2, 100*time.Millisecond) {
		last := staysOpen(ctx, at)
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", last)
		case <-time.After(wait):
		}
	}
}

func staysOpen(ctx context.Context, at string) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err = conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("connect to %s: %w", at, err)
}

// close ends the container and what passes connections on to it.
func (c *container) close(ctx context.Context) error {
	for _, f := range c.forwards {
		f.close()
	}
	if err := c.running.Terminate(ctx); err != nil {
		return fmt.Errorf("remove container: %w", err)
	}
	return nil
}

// removeContainers removes what a workspace's label is on.
func removeContainers(ctx context.Context, hash string) error {
	c, err := engine(ctx)
	if err != nil {
		return nil // with its engine a container ended, too
	}
	defer c.Close()
	found, err := c.ContainerList(ctx, client.ContainerListOptions{All: true,
		Filters: client.Filters{}.Add("label", workspaceLabel+"="+hash)})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var errs []error
	for _, one := range found.Items {
		if _, err := c.ContainerRemove(ctx, one.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			errs = append(errs, fmt.Errorf("remove container %s: %w", one.ID, err))
		}
	}
	return errors.Join(errs...)
}

// forward passes TCP connections on to an address.
type forward struct {
	l    net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]bool // nil when closed
}

func newForward(l net.Listener, to string) *forward {
	f := &forward{l: l, to: to, open: map[net.Conn]bool{}}
	f.wg.Go(f.accept)
	return f
}

func (f *forward) accept() {
	for {
		conn, err := f.l.Accept()
		if err != nil {
			return
		}
		f.wg.Go(func() { f.pass(conn) })
	}
}

// keep notes a connection so that close can end it; it refuses when close was called.
func (f *forward) keep(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		c.Close()
		return false
	}
	f.open[c] = true
	return true
}

func (f *forward) drop(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Close()
	delete(f.open, c)
}

// pass copies both directions and hands on each half's end.
func (f *forward) pass(in net.Conn) {
	if !f.keep(in) {
		return
	}
	defer f.drop(in)
	out, err := net.DialTimeout("tcp", f.to, 5*time.Second)
	if err != nil {
		in.(*net.TCPConn).SetLinger(0) // the peer sees a reset, as from a server that is not there
		return
	}
	if !f.keep(out) {
		return
	}
	defer f.drop(out)
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(out, in); out.(*net.TCPConn).CloseWrite() })
	io.Copy(in, out)
	in.(*net.TCPConn).CloseWrite()
	wg.Wait()
}

func (f *forward) close() {
	f.l.Close()
	f.mu.Lock()
	for c := range f.open {
		c.Close()
	}
	f.open = nil
	f.mu.Unlock()
	f.wg.Wait()
}
