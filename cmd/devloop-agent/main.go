// Command devloop-agent is devloop on a node of a cluster: it captures the packets of the node's pods, drives the
// services from inside the cluster, and lets commands on the host reach them. It judges nothing, and never asks the
// Kubernetes API.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/devloop-io/devloop/devloop/exercise"
	"github.com/devloop-io/devloop/internal/buildinfo"
)

const usage = `usage: devloop-agent COMMAND

  serve      capture on this node, and answer on 127.0.0.1 (in the DaemonSet's pods)
  health     ask the agent in this pod whether it is well; exit code 0 means yes
  exercise   run the exercise that standard input describes
  proxy      HTTP CONNECT and SOCKS5 proxy, into the cluster's network
  version    print the version

devloop-agent COMMAND -h lists its flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings handed in; it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "serve":
		err = serve(ctx, args[1:], stderr)
	case "health":
		err = health(ctx, args[1:], stdout)
	case "exercise", exercise.Argument:
		exercise.Main([]string{exercise.Argument})
	case "proxy":
		err = proxyCommand(ctx, args[1:], stderr)
	case "version":
		fmt.Fprintln(stdout, buildinfo.Version())
	case "-h", "--help", "help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "error: devloop-agent knows no command %q\n%s", args[0], usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return 1
	}
	return 0
}
