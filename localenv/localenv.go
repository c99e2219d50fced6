package localenv

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/devloop-io/devloop/internal/config"
	"github.com/devloop-io/devloop/traffic"
)

// Mode is how services are kept apart.
type Mode string

// The two modes.
const (
	ModeNetNS    Mode = "netns"    // own cgroup and network namespace each
	ModeLoopback Mode = "loopback" // one loopback, allocated ports, no cgroups
)

// KindHost is the kind of the host's own address on the bridge: readiness probes and whatever else devloop sends.
const KindHost = "devloop"

// ProbeUserAgent is what HTTP readiness probes send, so that dissection can tell them from the services' own calls.
const ProbeUserAgent = "devloop-probe"

// ExerciseName is the name of what drives the services; no service may bear it.
const ExerciseName = "exercise"

// Options of [New].
type Options struct {
	Workspace string         // folder of devloop.yaml; Config.Dir by default
	StateDir  string         // logs and data; Workspace/.devloop by default
	Config    *config.Config // services and dependencies
	Log       *slog.Logger   // slog.Default by default
	Loopback  bool           // use loopback mode even where namespaces could be had
}

// Build says what to run for a service.
type Build struct {
	ID string // short hash of the binary: what packets are labelled with
	// Path of the binary. Without it Argv[0] is looked up on the PATH.
	Path string
	// Argv is the whole command line, Argv[0] included. Empty: the binary with the service's args, or the service's
	// command where there is no binary.
	Argv []string
}

// Instance is one start of a service, dependency or exercise.
type Instance struct {
	Service     string              `json:"svc"`
	Kind        string              `json:"kind"`
	Build       string              `json:"build,omitempty"`
	PID         int                 `json:"pid"`
	CGroup      uint64              `json:"cgroup,omitempty"` // id: inode of the folder
	CGroupPath  string              `json:"cgroup_path,omitempty"`
	NetNS       string              `json:"netns,omitempty"` // path
	IP          netip.Addr          `json:"ip"`
	Ports       map[string]int      `json:"ports,omitempty"` // where it really listens: differs from the declared ones in loopback mode only
	Started     time.Time           `json:"started"`
	Log         string              `json:"log"`
	StandIn     bool                `json:"stand_in,omitempty"`  // the fallback of a dependency whose program is missing
	Container   string              `json:"container,omitempty"` // id, for a dependency that runs in a container
	Ledger      []traffic.PhaseTime `json:"ledger,omitempty"`    // stop, start, ready
	Environment []string            `json:"-"`                   // what the process was given
}

// Exit says that a process ended without having been asked to.
type Exit struct {
	Service string    `json:"svc"`
	Build   string    `json:"build,omitempty"`
	PID     int       `json:"pid"`
	Code    int       `json:"code"`             // -1 when a signal ended it
	Signal  string    `json:"signal,omitempty"` // "segmentation fault"
	Tail    string    `json:"tail,omitempty"`   // last lines of its log
	Log     string    `json:"log"`
	Time    time.Time `json:"time"`
}

// How says in words how the process ended: "exited with code 2".
func (x Exit) How() string {
	if x.Signal != "" {
		return "was ended by signal " + x.Signal
	}
	return fmt.Sprintf("exited with code %d", x.Code)
}

// StartError says why a service did not become ready.
type StartError struct {
	Service string
	What    string // one sentence without a full stop
	Tail    string // last lines of the log
	Log     string // path
	Exit    *Exit  // set when the process ended
}

// Error is the sentence with the log's tail below.
func (e *StartError) Error() string {
	s := "start " + e.Service + ": " + e.What
	if e.Tail != "" {
		s += "; the end of its log:\n" + e.Tail
	}
	return s
}

// LockedError says that another process runs the workspace's local environment.
type LockedError struct{ PID string }

// Error names the process.
func (e *LockedError) Error() string {
	return "the local environment of this workspace is run by process " + e.PID
}

// Hash is the short name of a workspace that everything made for it bears.
func Hash(workspace string) string {
	path, err := filepath.Abs(workspace)
	if err != nil {
		path = workspace
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:4])
}

// checkName refuses names that cannot be a folder, a DNS label or a part of a cgroup's path.
func checkName(name string) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || name[0] == '-' {
		return fmt.Errorf("name %q: letters, digits, - and _ only, at most 63", name)
	}
	if name == ExerciseName {
		return fmt.Errorf("name %q is taken by what drives the services", name)
	}
	return nil
}
