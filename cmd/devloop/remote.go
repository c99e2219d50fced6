package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/devloop-io/devloop/internal/control"
)

// askers are the verbs that only ask. The daemon that they ask may be one on another machine; the other verbs work on this
// one's files and services.
var askers = []string{
	"status", "wait", "calls", "stats", "flows", "map", "trace", "errors", "retries", "connections", "egress", "events", "dependents", "compare", "correlate",
	"sensitive", "suggest",
}

// remoteFlags lets the askers ask elsewhere.
func (r *root) remoteFlags(c *cobra.Command) {
	if !slices.Contains(askers, c.Name()) {
		return
	}
	f := c.Flags()
	f.StringVar(&r.there.url, "url", "", "ask the daemon at this URL, as devloop daemon listen prints it, instead of the workspace's")
	f.StringVar(&r.there.token, "token", "", "its token; better given as $DEVLOOP_TOKEN")
	f.BoolVar(&r.there.insecure, "insecure", false, "send the token unencrypted to another machine")
}

// client asks the daemon at --url whether it is there of the daemon at --url.
func (there remote) client(ctx context.Context) (*control.Client, *control.Status, error) {
	c, err := control.NewRemote(there.url, there.token, there.insecure)
	if err != nil {
		return nil, nil, err
	}
	st, err := c.Status(ctx)
	return c, st, err
}
