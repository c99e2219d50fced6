package nodeagent

import (
	"context"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/agent"
	"github.com/devloop-io/devloop/traffic"
)

// source is where the node's packets come from.
type source interface {
	capture.Source
	// choose changes what is captured.
	choose(agent.Rules) error
	// refresh looks for pods that came or went.
	refresh() error
	// note says what the source cannot tell apart, for whoever reads the targets.
	note() string
}

// silent is the source where nothing can be captured. The agent runs all the same and says why.
type silent struct{}

func (silent) Name() string                    { return "none" }
func (silent) Interfaces() []traffic.Interface { return nil }
func (silent) Flush(context.Context) error     { return nil }
func (silent) Stats() capture.Stats            { return capture.Stats{} }
func (silent) Close() error                    { return nil }
func (silent) choose(agent.Rules) error        { return nil }
func (silent) refresh() error                  { return nil }
func (silent) note() string                    { return "nothing can be captured on this node" }
func (silent) Run(ctx context.Context, _ func(*traffic.Packet)) error {
	<-ctx.Done()
	return nil
}
