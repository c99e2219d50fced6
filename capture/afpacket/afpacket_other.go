//go:build !linux

package afpacket

import (
	"context"
	"fmt"
	"runtime"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

var errUnsupported = fmt.Errorf("capture with AF_PACKET is not supported on %s: it needs Linux", runtime.GOOS)

// Source captures with AF_PACKET sockets. It cannot be opened on this platform.
type Source struct{}

// Open says that AF_PACKET is not supported here.
func Open(Options) (*Source, error) { return nil, errUnsupported }

// Add says that AF_PACKET is not supported here.
func (*Source) Add(capture.Target) error { return errUnsupported }

// Remove does nothing.
func (*Source) Remove(string) {}

// Name is "afpacket".
func (*Source) Name() string { return "afpacket" }

// Run says that AF_PACKET is not supported here.
func (*Source) Run(context.Context, func(*traffic.Packet)) error { return errUnsupported }

// Interfaces is empty.
func (*Source) Interfaces() []traffic.Interface { return nil }

// Flush says that AF_PACKET is not supported here.
func (*Source) Flush(context.Context) error { return errUnsupported }

// Stats is empty.
func (*Source) Stats() capture.Stats { return capture.Stats{} }

// Close does nothing.
func (*Source) Close() error { return nil }
