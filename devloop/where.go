package devloop

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// environment is where a session's services run: local processes, or pods of a cluster. Its methods may be called from
// any goroutine.
type environment interface {
	// Name is local, kind or cluster.
	Name() string
	// Mode says how services are kept apart, and why not better: "netns".
	Mode() (mode, why string)
	// Platform is what programs are built for.
	Platform() platform
	// Warnings are sentences about what is not as it should be.
	Warnings() []string
	// Identities says whose addresses are.
	Identities() []traffic.Identity
	// Running lists what runs now, whatever drives the services left out.
	Running() []control.ServiceStatus
	// Capture opens the best source that works here, or the wanted one. why says why not a better one. failed is told of
	// what later comes up and cannot be captured.
	Capture(ctx context.Context, want string, failed func(error), log *slog.Logger) (s capture.Source, why string, err error)
	// CaptureStatus fills in what is captured.
	CaptureStatus(ctx context.Context, st *control.CaptureStatus) error
	// ConfigureCapture chooses what is captured, where there is a choice.
	ConfigureCapture(ctx context.Context, t control.CaptureTargets) error
	// SwitchCapture stops the recording of packets, or starts it again, where that can be done.
	SwitchCapture(ctx context.Context, on bool) error
	// StartDependencies starts what does not run of the dependencies, and returns when all are ready.
	StartDependencies(ctx context.Context) error
	// Start runs a build of a service in place of the running one, and returns when it is ready. A service that does not
	// come up is a startError.
	Start(ctx context.Context, service string, b build) error
	// Reach replaces declared addresses in a text, such as a URL, by those that answer.
	Reach(text string) string
	// Drive runs a command that drives the services from inside of the environment, where they go by their names. The
	// exit code is -1 when a signal ended it.
	Drive(ctx context.Context, d drive) (exitCode int, err error)
	// Crashes tells of services that end unasked after they had been ready, until the environment is down.
	Crashes(tell func(crash))
	// Verify says what does not run the build that it should, such as a pod that came up meanwhile. An iteration's verdict
	// is about one revision, so it asks before it judges.
	Verify(ctx context.Context) ([]string, error)
	// Image makes the image of a service that is one, and puts it where it is to run.
	Image(ctx context.Context, service string) (ref string, err error)
	// Close lets go: what can run without devloop goes on. Where nothing can it is Down.
	Close(ctx context.Context) error
	// Down stops everything, removes what was made, and checks. A cluster is kept when that is asked for.
	Down(ctx context.Context, keepCluster bool) error
}

// changing is an environment whose addresses change hands, and that tells what happened in it.
type changing interface {
	// Resolve says whose an address was at a time.
	Resolve(ip netip.Addr, at int64) (traffic.Workload, bool)
	// Events are what happened in a span of time.
	Events(from, to int64) []traffic.ClusterEvent
}

// platform is an operating system and a processor, as the Go toolchain calls them. The zero value is this machine.
type platform struct{ os, arch string }

// drive is a command that drives the services.
type drive struct {
	argv           []string
	env            []string // after the environment's own: the last value of a name counts
	dir            string   // absolute
	stdin          io.Reader
	stdout, stderr io.Writer
}

// crash is a service that ended by itself.
type crash struct {
	service, what, tail string
	at                  time.Time // zero where it is not known
	code                int
}

// startError is a service that did not come up.
type startError struct {
	service string
	what    string // one sentence without a full stop
	tail    string // last lines of its log
	hint    string // where to look next
}

func (e *startError) Error() string { return e.service + ": " + e.what }
