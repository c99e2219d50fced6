package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// The choices.
const (
	Tap      = "tap"
	AFPacket = "afpacket"
	None     = "none"
)

// Fact is one thing that was looked at.
type Fact struct {
	Name   string `json:"name"` // kernel, cgroup, rights, tap, afpacket
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"` // a command, or what to do
}

// Result is what capture can do here.
type Result struct {
	Choice string `json:"choice"`        // the best source that works: tap, afpacket or none
	Why    string `json:"why"`           // one sentence: why no better one
	Fix    string `json:"fix,omitempty"` // the one command that would give a better one
	Facts  []Fact `json:"facts"`
}

// Observed is what was found on the machine.
type Observed struct {
	OS           string // runtime.GOOS
	Arch         string
	Binary       string // path of the program that wants to capture
	Root         bool
	Kernel       string   // release, "6.1.0-18-amd64"
	CGroup       string   // where cgroup v2 is mounted, empty when it is not
	Missing      []string // capabilities that are needed and not there, "cap_bpf"
	Lockdown     string   // the kernel's lockdown mode, when it has one
	Tap, Packets error    // what came of trying each source
}

// Needed are the capabilities of a devloop that does not run as root: to load eBPF, make namespaces, links and cgroups,
// answer DNS on port 53, and capture. The Makefile's target rights names the same.
var Needed = []string{"cap_bpf", "cap_perfmon", "cap_net_admin", "cap_net_raw", "cap_net_bind_service", "cap_sys_admin", "cap_dac_override"}

// Run looks at this machine.
func Run() Result { return Judge(observe()) }

// Judge says what follows from what was found.
func Judge(o Observed) Result {
	if o.OS != "linux" {
		return Result{Choice: None, Why: fmt.Sprintf("capture needs Linux, and this is %s", o.OS), Facts: []Fact{
			{Name: "kernel", Detail: "packets can be captured on Linux only, not on " + o.OS, Fix: "use a Linux machine"},
		}}
	}
	r := Result{Facts: []Fact{kernelFact(o), cgroupFact(o), rightsFact(o), tapFact(o), packetFact(o)}}
	switch {
	case o.Tap == nil:
		r.Choice, r.Why = Tap, "the eBPF tap works"
	case o.Packets == nil:
		r.Choice, r.Why = AFPacket, "the eBPF tap does not work: "+r.Facts[3].Detail
	default:
		r.Choice, r.Why = None, fmt.Sprintf("neither source works: %s; %s", r.Facts[3].Detail, r.Facts[4].Detail)
	}
	if r.Choice != Tap {
		r.Fix = r.Facts[3].Fix
	}
	return r
}

func kernelFact(o Observed) Fact {
	f := Fact{Name: "kernel", OK: true, Detail: fmt.Sprintf("Linux %s on %s", o.Kernel, o.Arch)}
	switch {
	case o.Arch != "amd64" && o.Arch != "arm64":
		f.OK, f.Detail, f.Fix = false, "the tap is built for amd64 and arm64, and this is "+o.Arch, "use a machine with one of these processors"
	case older(o.Kernel, 5, 15):
		f.OK, f.Detail, f.Fix = false, fmt.Sprintf("Linux %s is older than 5.15, which the tap needs", o.Kernel), "install a kernel of 5.15 or newer"
	case strings.Contains(o.Lockdown, "[confidentiality]"):
		f.OK, f.Detail, f.Fix = false, "the kernel is locked down for confidentiality and refuses eBPF", "boot without lockdown=confidentiality"
	}
	return f
}

// older compares a release with a version; what cannot be read counts as new enough.
func older(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return false
	}
	return a < major || a == major && b < minor
}

func cgroupFact(o Observed) Fact {
	if o.CGroup == "" {
		return Fact{Name: "cgroup", Detail: "no cgroup v2 hierarchy is mounted", Fix: "sudo mkdir -p /sys/fs/cgroup/unified && sudo mount -t cgroup2 none /sys/fs/cgroup/unified"}
	}
	return Fact{Name: "cgroup", OK: true, Detail: "cgroup v2 is at " + o.CGroup}
}

func rightsFact(o Observed) Fact {
	switch {
	case len(o.Missing) == 0 && o.Root:
		return Fact{Name: "rights", OK: true, Detail: "root"}
	case len(o.Missing) == 0:
		return Fact{Name: "rights", OK: true, Detail: "the program has the capabilities it needs"}
	case o.Root:
		return Fact{Name: "rights", Detail: "root without " + strings.Join(o.Missing, ", ") + ": this is a container with few rights", Fix: "start the container with --privileged"}
	}
	return Fact{Name: "rights", Detail: "not root, and without " + strings.Join(o.Missing, ", "),
		Fix: fmt.Sprintf("sudo setcap %s=ep %s", strings.Join(Needed, ","), quote(o.Binary))}
}

// quote makes a path safe to paste into a shell.
func quote(path string) string {
	if strings.ContainsAny(path, " '\"\\$`!*?()[]{}<>|&;#~\t\n") {
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	return path
}

func tapFact(o Observed) Fact {
	if o.Tap == nil {
		return Fact{Name: Tap, OK: true, Detail: "loads and attaches"}
	}
	f := Fact{Name: Tap, Detail: o.Tap.Error()}
	// The first thing that is wrong explains the failure.
	for _, cause := range []Fact{kernelFact(o), cgroupFact(o), rightsFact(o)} {
		if !cause.OK {
			f.Detail, f.Fix = cause.Detail, cause.Fix
			return f
		}
	}
	switch {
	case errors.Is(o.Tap, fs.ErrPermission) || errors.Is(o.Tap, syscall.EPERM):
		f.Fix = "ask who runs this machine whether a security module or seccomp profile forbids bpf(2)"
	default:
		f.Fix = "please report this with the output of `devloop doctor -o json`"
	}
	return f
}

func packetFact(o Observed) Fact {
	if o.Packets == nil {
		return Fact{Name: AFPacket, OK: true, Detail: "opens"}
	}
	f := Fact{Name: AFPacket, Detail: o.Packets.Error()}
	if rights := rightsFact(o); !rights.OK {
		f.Fix = rights.Fix
	}
	return f
}
