//go:build linux && (amd64 || arm64)

package nodeagent_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/internal/testenv"
)

// A stream that goes on can be watched: tshark -i - (and wireshark -k -i -) shows packets while they come.
func TestTheStreamIsWatchedLive(t *testing.T) {
	curl, tshark := testenv.NeedsProgram(t, "curl"), testenv.NeedsProgram(t, "tshark")
	n := newNode(t)
	addr := serve(t, n.options())
	stream := exec.Command(curl, "-sN", "-H", "Authorization: Bearer "+token, "http://"+addr+"/stream")
	watch := exec.Command(tshark, "-l", "-n", "-i", "-", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri")
	pipe, err := stream.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	watch.Stdin = pipe
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	watch.Stderr = &said
	for _, c := range []*exec.Cmd{stream, watch} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { c.Process.Kill(); c.Wait() }()
	}
	lines := make(chan string, 1024)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	c := agent.NewClient(agent.ClientOptions{Address: addr, Token: token})
	defer c.Close()
	client := n.talk(n.a, n.b)
	for section := range 3 { // sections: each segment of the ring is one
		deadline := time.After(20 * time.Second)
		for seen := 0; seen < 3; {
			client.ask(section + 1)
			select {
			case line, ok := <-lines:
				if !ok {
					t.Fatalf("tshark ended: %s", said.String())
				}
				if line == fmt.Sprint("/", section) {
					seen++
				}
			case <-time.After(200 * time.Millisecond):
			case <-deadline:
				t.Fatalf("section %d: tshark showed %d requests within 20 s: %s", section, seen, said.String())
			}
		}
		if _, err := c.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A pipe ends when its reader has what it wants, also on a stream that has fallen silent.
func TestAPipeOfAQuietStreamEnds(t *testing.T) {
	curl, tshark := testenv.NeedsProgram(t, "curl"), testenv.NeedsProgram(t, "tshark")
	n := newNode(t)
	addr := serve(t, n.options())
	c := agent.NewClient(agent.ClientOptions{Address: addr, Token: token})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	line := fmt.Sprintf(`%s -sN -H "Authorization: Bearer $TOKEN" http://%s/stream | %s -n -l -i - -c 4 -T fields -e ip.dst`, curl, addr, tshark)
	pipe := exec.CommandContext(ctx, "sh", "-c", line)
	pipe.Env, pipe.WaitDelay = append(os.Environ(), "TOKEN="+token), time.Second
	type result struct {
		out []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := pipe.Output()
		done <- result{out, err}
	}()
	if !poll(func() bool { h, err := c.Health(t.Context()); return err == nil && h.Streams == 1 }) {
		t.Fatal("curl did not connect")
	}
	n.talk(n.a, n.b).ask(1)
	if r := <-done; r.err != nil || string(r.out) != strings.Repeat("127.0.0.1\n", 4) {
		t.Errorf("got %q, %v", r.out, r.err)
	}
}

// Where pods are captured only when they are named, a pod that was named before its folder is there is captured from its
// first packets on.
func TestANamedPodIsFoundSoon(t *testing.T) {
	n := newNode(t)
	o := n.options()
	o.Rules = agent.Rules{Unknown: agent.Ignore}
	o.Refresh = time.Hour // the walk that goes on all the time finds none of them
	addr := serve(t, o)
	c := agent.NewClient(agent.ClientOptions{Address: addr, Token: token})
	defer c.Close()
	server := start(t, n.sys, "server", "")
	web := server.line()
	const pods = 5
	var named []string
	var took time.Duration
	for i := range pods {
		uid := fmt.Sprintf("cccccccc-1111-4222-8333-44444444444%d", i)
		named = append(named, uid)
		if _, err := c.SetTargets(t.Context(), agent.Rules{Unknown: agent.Ignore, Pods: named}); err != nil {
			t.Fatal(err)
		}
		box := n.pod(uid, strings.Repeat("c", 64))
		made := time.Now()
		if !poll(func() bool {
			targets, err := c.Targets(t.Context())
			return err == nil && slices.ContainsFunc(targets.Matched, func(m agent.Matched) bool { return m.Pod == uid && m.Captured })
		}) {
			t.Fatal("the pod was not found")
		}
		took += time.Since(made)
		before, err := c.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start(t, box, "client", web).ask(1)
		if !poll(func() bool { h, err := c.Health(t.Context()); return err == nil && h.Packets > before.Packets }) {
			t.Error("nothing of the pod was captured")
		}
	}
	t.Logf("found after %s on average", took/pods)
}
