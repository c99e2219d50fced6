//go:build !linux

package localenv

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"time"

	"github.com/devloop-io/devloop/fault"
	"github.com/devloop-io/devloop/traffic"
)

var errOS = fmt.Errorf("local environments are not supported on %s: they need Linux", runtime.GOOS)

// Env is a local environment; there are none on this operating system.
type Env struct{}

// New says that this operating system has no local environments.
func New(context.Context, Options) (*Env, error) { return nil, errOS }

// Detect says that this operating system has no local environments.
func Detect() (Mode, string) { return "", errOS.Error() }

// Clean has nothing to remove.
func Clean(ctx context.Context, workspace, stateDir string) ([]string, error) { return nil, nil }

// Mode of no environment.
func (e *Env) Mode() (Mode, string) { return "", errOS.Error() }

// Hash of no environment.
func (e *Env) Hash() string { return "" }

// Warnings of no environment.
func (e *Env) Warnings() []string { return nil }

// StartDependencies is not supported here.
func (e *Env) StartDependencies(context.Context) error { return errOS }

// Start is not supported here.
func (e *Env) Start(ctx context.Context, service string, b Build) (*Instance, error) {
	return nil, errOS
}

// Stop is not supported here.
func (e *Env) Stop(ctx context.Context, name string) error { return errOS }

// Instances of no environment.
func (e *Env) Instances() []Instance { return nil }

// Exited never reports.
func (e *Env) Exited() <-chan Exit { return nil }

// Targets of no environment.
func (e *Env) Targets() []Target { return nil }

// OnTarget is never called.
func (e *Env) OnTarget(func(Target)) {}

// OnTargetGone is never called.
func (e *Env) OnTargetGone(func(Target)) {}

// Identities of no environment.
func (e *Env) Identities() []traffic.Identity { return nil }

// CGroup of no environment.
func (e *Env) CGroup() (path string, id uint64) { return "", 0 }

// Address of nothing.
func (e *Env) Address(name, port string) (netip.AddrPort, bool) { return netip.AddrPort{}, false }

// Reach returns the text.
func (e *Env) Reach(text string) string { return text }

// Down has nothing to remove.
func (e *Env) Down(context.Context) error { return nil }

// Cmd cannot run here.
type Cmd struct {
	Argv           []string
	Env            []string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	ExtraFiles     []*os.File
}

// Command makes a command that cannot run here.
func (e *Env) Command(ctx context.Context, name string, argv ...string) *Cmd { return &Cmd{Argv: argv} }

// Start is not supported here.
func (c *Cmd) Start() error { return errOS }

// Wait is not supported here.
func (c *Cmd) Wait() error { return errOS }

// Run is not supported here.
func (c *Cmd) Run() error { return errOS }

// ExitCode of nothing.
func (c *Cmd) ExitCode() int { return -1 }

// PID of nothing.
func (c *Cmd) PID() int { return 0 }

// FaultSource is no address.
func (e *Env) FaultSource() netip.Addr { return netip.Addr{} }

// SetFault is not supported here.
func (e *Env) SetFault(ctx context.Context, f fault.Fault, port string, lasts time.Duration) (fault.Fault, error) {
	return fault.Fault{}, errOS
}

// Faults of no environment.
func (e *Env) Faults(since time.Time) []fault.Fault { return nil }

// ClearFault has nothing to end.
func (e *Env) ClearFault(id string) ([]fault.Fault, error) { return nil, errOS }
