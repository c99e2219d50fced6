package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"

	"github.com/devloop-io/devloop/internal/nodeagent/proxy"
)

// proxyCommand lets commands on the host reach Services by name, through a port-forward to this pod.
func proxyCommand(ctx context.Context, args []string, stderr io.Writer) error {
	f := flag.NewFlagSet("proxy", flag.ExitOnError)
	port := f.Int("port", 1080, "on 127.0.0.1; 0 takes any, which standard error names")
	f.Parse(args)
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintln(stderr, "proxy on", l.Addr())
	return proxy.Serve(ctx, l, proxy.Options{}) // whoever gets to the pod's loopback may exec or forward there
}
