//go:build linux && (amd64 || arm64)

package tap

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

// A pod's folder has the choice, the sockets are two folders further down.
func TestChoicesHoldForTheGroupsBelowAndChangeWhileRunning(t *testing.T) {
	root := testRoot(t)
	names := map[uint64]string{}
	cgroup := func(parent, name string) string {
		path := newCGroup(t, parent, name)
		names[id(t, path)] = filepath.Base(parent) + "/" + name
		return path
	}
	podA, podB := cgroup(root, "a"), cgroup(root, "b")
	a, b := cgroup(cgroup(podA, "box"), "inner"), cgroup(podB, "box")
	s := open(t, Options{CGroup: root, Choices: &Choices{CGroups: map[uint64]Choice{id(t, root): Ignore}},
		Resolve: func(id uint64) (capture.Target, bool) {
			return capture.Target{Name: names[id]}, names[id] != ""
		}})
	addr := start(t, b, "", "server", "127.0.0.1:0", 0, 3000).line(t)
	talk := func() { start(t, a, "", "client", addr, 5, 3000).finish(t) }

	type tally struct{ packets, bytes int }
	got := map[string]tally{}
	stop := make(chan func() []seen, 1)
	stop <- heard(t, s)
	step := func(c Choices) {
		t.Helper()
		if err := s.Choose(c); err != nil {
			t.Fatal(err)
		}
		talk()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	talk()
	step(Choices{CGroups: map[uint64]Choice{id(t, root): Ignore, id(t, podA): Capture}})
	afterA := s.Stats().Received
	step(Choices{CGroups: map[uint64]Choice{id(t, podA): Ignore}})
	afterB := s.Stats().Received
	_, port, _ := strings.Cut(addr, ":")
	number, _ := strconv.Atoi(port)
	step(Choices{Ports: []uint16{1}})
	if n := s.Stats().Received; n != afterB {
		t.Errorf("%d packets of other ports", n-afterB)
	}
	step(Choices{CGroups: map[uint64]Choice{id(t, podB): Ignore}, Ports: []uint16{uint16(number)}})
	packets := (<-stop)()
	for i, p := range packets {
		name := s.Interfaces()[p.Interface].Name
		if want := map[bool]string{true: "b/box", false: "box/inner"}[uint64(i) >= afterA && uint64(i) < afterB]; name != want {
			t.Fatalf("packet %d of %d, %d is on %s, want %s", i, afterA, afterB, name, want)
		}
		k := got[fmt.Sprint(name, " ", p.Direction)]
		k.packets++
		k.bytes += len(p.tcp) - int(p.tcp[12]>>4)*4
		got[fmt.Sprint(name, " ", p.Direction)] = k
	}
	// Nobody recorded the other end, so what is received is there whole.
	for key, want := range map[string]int{"box/inner 1": 30000, "box/inner 2": 30000, "b/box 1": 15000, "b/box 2": 15000} {
		if got[key].bytes != want {
			t.Errorf("%s: %d bytes, want %d", key, got[key].bytes, want)
		}
	}
	if ifc := s.Interfaces()[0]; ifc.Workload == nil || !strings.HasPrefix(ifc.Workload.Process, "tap") {
		t.Errorf("interface %+v has workload %+v", ifc, ifc.Workload)
	}
}

// The sender was recorded when the connection began, and no longer is.
func TestPayloadIsThereWhenTheSenderIsNoLongerChosen(t *testing.T) {
	root := testRoot(t)
	a, b := newCGroup(t, root, "a"), newCGroup(t, root, "b")
	s := open(t, Options{CGroup: root, Choices: &Choices{}})
	server := start(t, b, "", "server", "127.0.0.1:0", 0, 1000)
	addr := server.line(t)
	stop := heard(t, s)
	talk := start(t, a, "", "echo-twice", addr, 1, 1000)
	talk.in.Write([]byte("!"))
	talk.line(t)
	if err := s.Choose(Choices{CGroups: map[uint64]Choice{id(t, a): Ignore}}); err != nil {
		t.Fatal(err)
	}
	talk.in.Write([]byte("!"))
	local := talk.line(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	bytes := map[traffic.Direction]int{}
	for _, p := range stop() {
		if s.Interfaces()[p.Interface].CGroup == id(t, b) && p.flow.Src.String() == local {
			bytes[p.Direction] += len(p.tcp) - int(p.tcp[12]>>4)*4
		}
	}
	if bytes[traffic.DirectionIn] != 1000 {
		t.Errorf("the server's end has %d bytes of requests, want the second one's 1000", bytes[traffic.DirectionIn])
	}
}

func TestChoicesHaveBounds(t *testing.T) {
	s := open(t, Options{CGroup: testRoot(t), Choices: &Choices{}})
	if err := s.Choose(Choices{Ports: make([]uint16, MaxPorts+1)}); err == nil {
		t.Error("too many ports say nothing")
	}
	plain := open(t, Options{CGroup: testRoot(t)})
	if err := plain.Choose(Choices{}); err == nil {
		t.Error("a tap that records everything lets itself be told to choose")
	}
}

func id(t *testing.T, path string) uint64 {
	t.Helper()
	n, err := CGroupID(path)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
