package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// NodeContainers are the names of the containers that are the cluster's nodes. It is an error for a cluster whose nodes are
// no containers of this machine's engine.
func (c *Cluster) NodeContainers(ctx context.Context) ([]string, error) {
	if !c.Kind {
		return nil, &Error{Reason: NotKind, What: fmt.Sprintf("the nodes of %s are no kind nodes of this machine: nothing can be streamed into them", c.Name),
			Hint: "push images to a registry that the cluster reads: image: of the service, environment.cluster.agentImage for the agent"}
	}
	nodes, err := nodeContainers(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range nodes {
		if n.Role == "control-plane" || n.Role == "worker" { // the load balancer of several control planes is no node
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, &Error{Reason: NotFound, What: fmt.Sprintf("cluster %s has no nodes any more", c.Name), Hint: "devloop cluster list"}
	}
	return names, nil
}

// NodeExec runs a command in a node's container, without a shell, and returns what it printed. in may be nil.
func (c *Cluster) NodeExec(ctx context.Context, node string, in io.Reader, args ...string) (string, error) {
	all := []string{"exec", "--privileged"}
	if in != nil {
		all = append(all, "--interactive")
	}
	cmd := exec.CommandContext(ctx, "docker", append(append(all, node), args...)...)
	cmd.WaitDelay = time.Second
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errOut
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		failed := &commandError{all, strings.TrimSpace(errOut.String() + "\n" + tail(out.String(), 5)), err}
		if known := engineError(failed); known != nil {
			return "", known
		}
		return "", fmt.Errorf("%s on node %s: %s: %w", args[0], node, lastLine(failed.output), err)
	}
	return out.String(), nil
}
