//go:build !linux || !(amd64 || arm64)

package tap

import (
	"context"
	"fmt"
	"runtime"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/traffic"
)

var errUnsupported = fmt.Errorf("the eBPF tap is not supported on %s/%s: it needs Linux 5.15 or newer on amd64 or arm64", runtime.GOOS, runtime.GOARCH)

// Tap is a source that captures at sockets. It cannot be opened on this platform.
type Tap struct{}

// Open says that the tap is not supported here.
func Open(Options) (*Tap, error) { return nil, errUnsupported }

// Mount says that there are no cgroups here.
func Mount() (string, error) { return "", errUnsupported }

// CGroupID says that there are no cgroups here.
func CGroupID(string) (uint64, error) { return 0, errUnsupported }

// Choose says that the tap is not supported here.
func (*Tap) Choose(Choices) error { return errUnsupported }

// Name is "tap".
func (*Tap) Name() string { return "tap" }

// Run says that the tap is not supported here.
func (*Tap) Run(context.Context, func(*traffic.Packet)) error { return errUnsupported }

// Interfaces is empty.
func (*Tap) Interfaces() []traffic.Interface { return nil }

// Flush says that the tap is not supported here.
func (*Tap) Flush(context.Context) error { return errUnsupported }

// Stats is empty.
func (*Tap) Stats() capture.Stats { return capture.Stats{} }

// Close does nothing.
func (*Tap) Close() error { return nil }
