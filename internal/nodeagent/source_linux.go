package nodeagent

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/capture/tap"
	"github.com/devloop-io/devloop/traffic"
)

// findRoot is the first folder that is the root of a cgroup v2 hierarchy, or a folder in one.
func findRoot(candidates []string) (string, error) {
	for _, dir := range candidates {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find cgroup v2: it is at none of %s: mount the node's /sys/fs/cgroup there", strings.Join(candidates, ", "))
}

// openSource opens the best source that works on this node. why says why it is not the tap.
func openSource(o Options, g *groups, noGroups error, log *slog.Logger) (s source, why string) {
	err := noGroups
	if o.Source == "" || o.Source == "tap" {
		if err == nil {
			var t source
			if t, err = openTap(o, g, log); err == nil {
				return t, ""
			}
		}
		why = "the eBPF tap does not work: " + err.Error()
		log.Warn("the tap does not work", "why", err)
	} else {
		why = "the source " + o.Source + " was asked for"
	}
	if o.Source != "tap" && o.Source != "none" {
		p, err := openPackets(o)
		if err == nil {
			return p, why
		}
		why += "; AF_PACKET in the pods' network namespaces does not work either: " + err.Error()
		log.Warn("AF_PACKET does not work", "why", err)
	}
	return silent{}, why
}

// tapped captures at the sockets of all pods.
type tapped struct {
	*tap.Tap
	groups *groups
	me     self

	mu    sync.Mutex
	rules agent.Rules
}

func openTap(o Options, g *groups, log *slog.Logger) (source, error) {
	t := &tapped{groups: g, me: self{pod: o.PodUID, cgroup: g.mine()}, rules: o.Rules}
	choices := choose(o.Rules, t.me, g.rootID, g.all())
	var err error
	t.Tap, err = tap.Open(tap.Options{CGroup: g.root, RingSize: o.KernelRing, Choices: &choices, Log: log,
		Resolve: func(id uint64) (capture.Target, bool) {
			found, ok := g.find(id)
			if !ok {
				return capture.Target{}, false
			}
			return capture.Target{Name: found.Name(), Workload: workload(found.Identity, o.Node)}, true
		}})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// workload is as much as the agent knows: numbers, which the client of the API server translates.
func workload(i Identity, node string) traffic.Workload {
	if i.Pod == "" {
		return traffic.Workload{Kind: "host", Node: node, Service: i.Host}
	}
	return traffic.Workload{Kind: "pod", Node: node, Pod: i.Pod, Container: i.Container}
}

func (t *tapped) choose(r agent.Rules) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.Choose(choose(r, t.me, t.groups.rootID, t.groups.all())); err != nil {
		return err
	}
	t.rules = r
	return nil
}

// refresh gives pods that came meanwhile their choice.
func (t *tapped) refresh() error {
	if changed, err := t.groups.walk(); err != nil || !changed {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.Choose(choose(t.rules, t.me, t.groups.rootID, t.groups.all()))
}

func (t *tapped) note() string { return "" }

func (t *tapped) self() self { return t.me }

// packets captures in the pods' network namespaces.
type packets struct {
	*afpacket.Source
	dir  string
	node string
	own  uint64 // inode of our own namespace

	mu    sync.Mutex
	open  []string
	quiet bool // no pod is to be captured
}

func openPackets(o Options) (source, error) {
	s, err := afpacket.Open(afpacket.Options{BlockSize: 256 << 10, Blocks: 8})
	if err != nil {
		return nil, err
	}
	p := &packets{Source: s, dir: o.NetNS, node: o.Node, own: inode("/proc/self/ns/net")}
	if err := p.choose(o.Rules); err != nil {
		s.Close()
		return nil, err
	}
	return p, nil
}

func inode(path string) uint64 {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	return st.Ino
}

// maxNamespaces bounds the packet rings: each takes memory.
const maxNamespaces = 256

// refresh opens the namespaces of pods that came and closes those that went. The agent's own is left out.
func (p *packets) refresh() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var there []string
	for _, e := range entries {
		path := filepath.Join(p.dir, e.Name())
		if n := inode(path); n != 0 && n != p.own && !p.quiet {
			there = append(there, path)
		}
	}
	p.open = slices.DeleteFunc(p.open, func(path string) bool {
		gone := !slices.Contains(there, path)
		if gone {
			p.Remove(path)
		}
		return gone
	})
	var errs []error
	for _, path := range there {
		if slices.Contains(p.open, path) || len(p.open) >= maxNamespaces {
			continue
		}
		name := "netns/" + filepath.Base(path)
		if err := p.Add(capture.Target{NetNS: path, Name: name, Workload: traffic.Workload{Kind: "netns", Node: p.node, Service: filepath.Base(path)}}); err != nil {
			errs = append(errs, err) // it may be going away, or not mounted yet
			continue
		}
		p.open = append(p.open, path)
	}
	if len(p.open) == 0 {
		return errors.Join(errs...)
	}
	return nil
}

// choose keeps the one rule that can be kept here: that nothing is captured.
func (p *packets) choose(r agent.Rules) error {
	p.mu.Lock()
	p.quiet = r.Unknown == agent.Ignore && len(r.Pods) == 0 && !r.Host
	p.mu.Unlock()
	return p.refresh()
}

func (p *packets) note() string {
	return "with AF_PACKET every pod's packets are captured as soon as one pod is chosen: which one cannot be kept, pods are known by their addresses only, and what runs in the node's own network is not seen"
}
