package localenv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devloop-io/devloop/internal/config"
)

const (
	readyTimeout = 30 * time.Second
	pollFirst    = 2 * time.Millisecond
	pollMost     = 20 * time.Millisecond
)

// probe is one condition of readiness. try says in words what is missing, or nothing when it holds.
type probe struct {
	what string // "GET /healthz on port http"
	try  func(ctx context.Context) (missing string)
}

// await polls the probes until all hold. The process's end ends the wait at once.
func (e *Env) await(ctx context.Context, p *process, ready *config.Ready) error {
	timeout := readyTimeout
	if ready != nil && ready.Timeout > 0 {
		timeout = time.Duration(ready.Timeout)
	}
	probes, err := e.probes(p, ready)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNeverReady)
	defer cancel()
	last := ""
	for _, one := range probes {
		for wait := pollFirst; ; wait = min(wait*3/2, pollMost) {
			missing := one.try(ctx)
			if missing == "" {
				break
			}
			if ctx.Err() == nil || last == "" { // an expired context says nothing of the service
				last = missing
			}
			select {
			case <-p.done:
				return p.failure(fmt.Sprintf("the process %s before it was ready", p.exit.How()), &p.exit)
			case <-ctx.Done():
				if !errors.Is(context.Cause(ctx), errNeverReady) {
					return context.Cause(ctx)
				}
				return p.failure(fmt.Sprintf("not ready after %s: %s: %s", timeout, one.what, last), nil)
			case <-time.After(wait):
			}
		}
	}
	select {
	case <-p.done:
		return p.failure(fmt.Sprintf("the process %s as soon as it was ready", p.exit.How()), &p.exit)
	default:
	}
	return e.identify(p)
}

var errNeverReady = errors.New("never ready")

// failure is why this start failed, with the log's tail.
func (p *process) failure(what string, exit *Exit) error {
	return &StartError{Service: p.unit.name, What: what, Tail: logTail(p.inst.Log), Log: p.inst.Log, Exit: exit}
}

// probes are the conditions of a service: the configured ones, or that every port accepts.
func (e *Env) probes(p *process, ready *config.Ready) ([]probe, error) {
	u := p.unit
	if ready == nil || ready.HTTP == nil && ready.TCP == "" && ready.Log == "" {
		var all []probe
		for _, name := range slices.Sorted(maps.Keys(u.ports)) {
			all = append(all, p.tcpProbe(name))
		}
		return all, nil
	}
	var all []probe
	if ready.Log != "" {
		re, err := regexp.Compile(ready.Log)
		if err != nil {
			return nil, fmt.Errorf("ready.log of %s: %w", u.name, err)
		}
		all = append(all, p.logProbe(re))
	}
	if ready.TCP != "" {
		if _, ok := u.ports[ready.TCP]; !ok {
			return nil, fmt.Errorf("ready.tcp of %s names no port of it: %q", u.name, ready.TCP)
		}
		all = append(all, p.tcpProbe(ready.TCP))
	}
	if ready.HTTP != nil {
		name := ready.HTTP.Port
		if name == "" {
			name, _ = firstPort(u.ports)
		}
		if _, ok := u.ports[name]; !ok {
			return nil, fmt.Errorf("ready.http of %s needs a port, and it has none named %q", u.name, name)
		}
		all = append(all, p.httpProbe(name, ready.HTTP.Path))
	}
	return all, nil
}

// listens looks into the kernel's table first: asking it costs no packet, and a port that is not open yet would
// answer every probe with a reset in the capture.
func (p *process) listens(port int) string {
	found, err := listeners(p.cmd.Process.Pid)
	if err != nil {
		return ""
	}
	for _, l := range found {
		if l.port == port {
			if l.loopback && p.cg.path != "" {
				return fmt.Sprintf("it listens on port %d of 127.0.0.1 only, where its peers cannot reach it: let it listen on :%d", port, port)
			}
			return ""
		}
	}
	var open []string
	for _, l := range found {
		if p.cg.path != "" { // in loopback mode the table is the whole host's
			open = append(open, strconv.Itoa(l.port))
		}
	}
	if len(open) > 0 {
		slices.Sort(open)
		return fmt.Sprintf("nothing listens on port %d; it listens on %s", port, strings.Join(slices.Compact(open), ", "))
	}
	return fmt.Sprintf("nothing listens on port %d", port)
}

// tcpProbe is a connect without data, from the host over the bridge.
func (p *process) tcpProbe(name string) probe {
	addr, port := p.unit.reach[name], p.unit.reachPort(name)
	return probe{what: fmt.Sprintf("connect to port %s (%s)", name, addr), try: func(ctx context.Context) string {
		if missing := p.listens(port); missing != "" {
			return missing
		}
		d := net.Dialer{Timeout: time.Second}
		conn, err := d.DialContext(ctx, "tcp", p.unit.hostAddr(name))
		if err != nil {
			return err.Error()
		}
		conn.Close()
		return ""
	}}
}

// httpProbe asks a path until it answers 2xx or 3xx.
func (p *process) httpProbe(name, path string) probe {
	port := p.unit.reachPort(name)
	url := "http://" + p.unit.hostAddr(name) + "/" + strings.TrimPrefix(path, "/")
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return probe{what: "GET " + url, try: func(ctx context.Context) string {
		if missing := p.listens(port); missing != "" {
			return missing
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err.Error()
		}
		req.Host = p.unit.name
		req.Header.Set("User-Agent", ProbeUserAgent)
		resp, err := client.Do(req)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		if resp.StatusCode >= 200 && resp.StatusCode < 400 {
			return ""
		}
		return strings.TrimSpace("it answered " + resp.Status + " " + string(bytes.TrimSpace(body)))
	}}
}

// logProbe reads on in the log until a line matches.
func (p *process) logProbe(re *regexp.Regexp) probe {
	var from int64
	var rest []byte
	return probe{what: fmt.Sprintf("a log line that matches %q", re), try: func(context.Context) string {
		const missing = "no line matched"
		f, err := os.Open(p.inst.Log)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		chunk := make([]byte, 64<<10)
		for {
			n, err := f.ReadAt(chunk, from)
			from += int64(n)
			rest = append(rest, chunk[:n]...)
			for {
				line, after, ok := bytes.Cut(rest, []byte("\n"))
				if !ok {
					break
				}
				if re.Match(line) {
					return ""
				}
				rest = after
			}
			if len(rest) > 64<<10 {
				rest = nil // no line is that long
			}
			if err != nil || n == 0 {
				return missing
			}
		}
	}}
}

// identify makes sure that what listens on the declared ports belongs to the process, and not to somebody who was
// there before: measuring another program would be worse than measuring none.
func (e *Env) identify(p *process) error {
	found, err := listeners(p.cmd.Process.Pid)
	if err != nil {
		return nil // it ended meanwhile, and that is reported
	}
	pids := p.tree()
	own := sockets(pids)
	for _, name := range slices.Sorted(maps.Keys(p.unit.ports)) {
		port := p.unit.reachPort(name)
		for _, l := range found {
			if l.port != port || own[l.inode] {
				continue
			}
			if slices.ContainsFunc(found, func(o listener) bool { return o.port == port && own[o.inode] }) {
				continue // SO_REUSEPORT or another address: one of them is ours
			}
			return p.failure(fmt.Sprintf("port %d is held by %s, which is not the process that was started", port, owner(l.inode)), nil)
		}
	}
	return nil
}

// tree lists the process and what it started.
func (p *process) tree() []int {
	if p.cg.path != "" {
		return p.cg.pids()
	}
	var pids []int
	for _, pid := range allPIDs() {
		if pgrp(pid) == p.cmd.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids
}

// portsFree refuses to start a program whose port somebody else holds. In loopback mode no cgroup ends what a killed
// process started in sessions of its own, as PostgreSQL does: such processes get a moment to notice.
func (e *Env) portsFree(u *unit) error {
	err := e.portsTaken(u)
	for deadline := time.Now().Add(2 * time.Second); err != nil && e.mode != ModeNetNS && time.Now().Before(deadline); {
		time.Sleep(pollMost)
		err = e.portsTaken(u)
	}
	return err
}

// portsTaken names the first port that is held, and its holder.
func (e *Env) portsTaken(u *unit) error {
	var found []listener
	read := func() (err error) {
		found, err = listenersIn("/proc/thread-self/net")
		return err
	}
	var err error
	if e.mode == ModeNetNS {
		err = e.launcher.in(u.ns, read)
	} else {
		err = read()
	}
	if err != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(u.ports)) {
		for _, l := range found {
			if l.port != u.reachPort(name) {
				continue
			}
			where := "its network namespace"
			if e.mode != ModeNetNS {
				where = "this machine"
			}
			return &StartError{Service: u.name, What: fmt.Sprintf("port %d (%s) is taken in %s by %s", l.port, name, where, owner(l.inode))}
		}
	}
	return nil
}

// listener is one listening TCP socket.
type listener struct {
	port     int
	loopback bool // reachable from inside only
	inode    uint64
}

// listeners reads the listening sockets of the network namespace that a process is in.
func listeners(pid int) ([]listener, error) {
	return listenersIn(fmt.Sprintf("/proc/%d/net", pid))
}

func listenersIn(dir string) ([]listener, error) {
	v4, err := os.ReadFile(filepath.Join(dir, "tcp"))
	if err != nil {
		return nil, err
	}
	v6, _ := os.ReadFile(filepath.Join(dir, "tcp6"))
	return append(parseListeners(string(v4)), parseListeners(string(v6))...), nil
}

// parseListeners reads the table that proc_net_tcp.rst describes: sl local_address rem_address st … inode.
func parseListeners(table string) []listener {
	var found []listener
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
			continue
		}
		addr, port, ok := strings.Cut(f[1], ":")
		number, err1 := strconv.ParseUint(port, 16, 16)
		inode, err2 := strconv.ParseUint(f[9], 10, 64)
		if !ok || cmp.Or(err1, err2) != nil {
			continue
		}
		// Addresses are printed in the machine's byte order, word by word; all machines of ours are little-endian.
		loopback := len(addr) == 8 && strings.HasSuffix(addr, "7F") || addr == "00000000000000000000000001000000"
		found = append(found, listener{port: int(number), loopback: loopback, inode: inode})
	}
	return found
}

// sockets are the inodes of the sockets that processes hold.
func sockets(pids []int) map[uint64]bool {
	found := map[uint64]bool{}
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		fds, _ := os.ReadDir(dir)
		for _, fd := range fds {
			link, _ := os.Readlink(filepath.Join(dir, fd.Name()))
			if number, ok := strings.CutPrefix(link, "socket:["); ok {
				inode, _ := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64)
				found[inode] = true
			}
		}
	}
	return found
}

// owner names the process that holds a socket.
func owner(inode uint64) string {
	for _, pid := range allPIDs() {
		if sockets([]int{pid})[inode] {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			return fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), pid)
		}
	}
	return "a process that cannot be found"
}

func allPIDs() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// pgrp is field 5 of /proc/<pid>/stat.
func pgrp(pid int) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 3 {
		return 0
	}
	group, _ := strconv.Atoi(f[2])
	return group
}
