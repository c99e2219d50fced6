package kindenv

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/capture/agent"
)

// AllNamespaces stands in [Targets.Namespaces] for all but those of the cluster itself.
const AllNamespaces = "*"

// NodeState is how the agent of a node is, and what its ring holds.
type NodeState struct {
	Node   string
	Health agent.Health
	Ring   agent.Boundaries
	Err    error // it does not answer; then nothing else is known
}

// agentBound is how long an agent may take to say how it is.
const agentBound = 5 * time.Second

// NodeStates asks all agents at once, in the order of [Targeted.Nodes].
func (e *Env) NodeStates(ctx context.Context) []NodeState {
	n := e.capturing()
	if n == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentBound)
	defer cancel()
	states := make([]NodeState, len(n.sources))
	var wg sync.WaitGroup
	for i, s := range n.sources {
		wg.Go(func() {
			st := NodeState{Node: s.Node()}
			var err1, err2 error
			st.Health, err1 = s.Client().Health(ctx)
			st.Ring, err2 = s.Client().Boundaries(ctx)
			st.Err = errors.Join(err1, err2)
			states[i] = st
		})
	}
	wg.Wait()
	return states
}

func (e *Env) capturing() *nodes {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes
}

// SwitchCapture stops the recording of packets, or starts it again with the targets that there are. While it is stopped the
// agents go on running and record nothing.
func (e *Env) SwitchCapture(ctx context.Context, on bool) (*Targeted, error) {
	n := e.capturing()
	if n == nil {
		return nil, errors.New("nothing is captured yet")
	}
	n.mu.Lock()
	before := n.stopped
	n.stopped = !on
	n.mu.Unlock()
	answer, err := n.retarget(ctx)
	if err != nil {
		n.mu.Lock()
		n.stopped = before
		n.mu.Unlock()
	}
	return answer, err
}

// withDefault is what is captured when no namespace is named: the workspace's own.
func (t Targets) withDefault(namespace string) Targets {
	if len(t.Namespaces) == 0 {
		t.Namespaces = []string{namespace}
	}
	return t
}

// narrowed says which of the workspace's pods are not captured, in a sentence; empty when all are.
func narrowed(t Targets, missing []string) string {
	const shown = 3
	switch {
	case len(missing) > 0:
		slices.Sort(missing)
		more := ""
		if len(missing) > shown {
			more = fmt.Sprintf(" and %d more", len(missing)-shown)
		}
		return fmt.Sprintf("capture was configured to leave out pods of the workspace: %s%s (devloop capture configure sets it back)", strings.Join(missing[:min(shown, len(missing))], ", "), more)
	case len(t.Ports) > 0:
		return fmt.Sprintf("capture was configured for ports %s only (devloop capture configure sets it back)", strings.Trim(fmt.Sprint(t.Ports), "[]"))
	}
	return ""
}
