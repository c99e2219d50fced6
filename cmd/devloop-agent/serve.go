package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/internal/nodeagent"
)

// The environment of the agent's container. The token is there or in a file, never on the command line, where
// everybody on the node reads it.
const (
	envToken = "DEVLOOP_AGENT_TOKEN"
	envNode  = "DEVLOOP_AGENT_NODE"
	envPod   = "DEVLOOP_AGENT_POD_UID"
)

const defaultPort = agent.DefaultPort

// serve captures until it is told to end.
func serve(ctx context.Context, args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("serve", flag.ExitOnError)
	port := f.Int("port", defaultPort, "on 127.0.0.1; 0 takes any, which standard error names")
	tokenFile := f.String("token-file", "", "file with the token; "+envToken+" otherwise")
	node := f.String("node", os.Getenv(envNode), "this node's name; "+envNode)
	pod := f.String("pod-uid", os.Getenv(envPod), "UID of this pod, which is not captured; "+envPod)
	cgroup := f.String("cgroup", "/host/cgroup,/host/cgroup/unified", "where the node's cgroup v2 hierarchy may be mounted")
	netns := f.String("netns", "/run/netns", "folder of the pods' network namespaces, for AF_PACKET")
	source := f.String("source", "", "tap or afpacket; otherwise the best that works")
	ring := f.String("ring", "/ring", "folder of the ring")
	size := f.Int64("ring-size", 256, "MiB")
	segment := f.Int64("segment-size", 16, "MiB")
	kernelRing := f.Int("kernel-ring", 8, "MiB of the kernel's buffer, a power of two")
	rules := f.String("targets", "", "rules to begin with, as JSON, such as {\"unknown\":\"ignore\"}")
	verbose := f.Bool("v", false, "log more")
	f.Parse(args)
	if f.NArg() > 0 {
		return fmt.Errorf("serve takes no arguments, and got %q", f.Args())
	}
	o := nodeagent.Options{Node: cmp.Or(*node, hostname()), PodUID: *pod, CGroups: strings.Split(*cgroup, ","), NetNS: *netns, Source: *source,
		Ring: *ring, RingSize: *size << 20, Segment: *segment << 20, KernelRing: *kernelRing << 20}
	var err error
	if o.Token, err = token(*tokenFile); err != nil {
		return err
	}
	if *rules != "" {
		if err := json.Unmarshal([]byte(*rules), &o.Rules); err != nil {
			return fmt.Errorf("read --targets: %w", err)
		}
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	debug.SetMemoryLimit(40 << 20) // the kernel's ring, which is mapped, comes on top
	a, err := nodeagent.Open(o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return a.Run(ctx, l)
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

func token(file string) (string, error) {
	if file == "" {
		return os.Getenv(envToken), nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// health asks the agent in this pod: the kubelet's probe cannot reach 127.0.0.1 there.
func health(ctx context.Context, args []string, stdout io.Writer) error {
	f := flag.NewFlagSet("health", flag.ExitOnError)
	port := f.Int("port", defaultPort, "of the agent, on 127.0.0.1")
	tokenFile := f.String("token-file", "", "file with the token; "+envToken+" otherwise")
	f.Parse(args)
	t, err := token(*tokenFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	h, err := agent.NewClient(agent.ClientOptions{Address: fmt.Sprintf("127.0.0.1:%d", *port), Token: t}).Health(ctx)
	if err != nil {
		return err
	}
	e := json.NewEncoder(stdout)
	e.SetIndent("", "  ")
	if err := e.Encode(h); err != nil {
		return err
	}
	if !h.OK {
		return fmt.Errorf("the agent is not well: %s", h.Problem)
	}
	return nil
}
