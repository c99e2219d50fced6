package probe_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/devloop-io/devloop/capture/probe"
	"github.com/devloop-io/devloop/internal/testenv"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	eperm := fmt.Errorf("load: %w", syscall.EPERM)
	good := probe.Observed{OS: "linux", Arch: "amd64", Kernel: "6.1.0-18-amd64", CGroup: "/sys/fs/cgroup", Binary: "/home/me/my code/devloop", Root: true}
	with := func(change func(*probe.Observed)) probe.Observed {
		o := good
		change(&o)
		return o
	}
	for name, c := range map[string]struct {
		observed         probe.Observed
		choice, why, fix string
	}{
		"all is well": {good, "tap", "the eBPF tap works", ""},
		"no rights": {with(func(o *probe.Observed) {
			o.Root, o.Missing, o.Tap, o.Packets = false, []string{"cap_bpf", "cap_net_raw"}, eperm, eperm
		}), "none", "neither source works: not root, and without cap_bpf, cap_net_raw; load: operation not permitted",
			"sudo setcap cap_bpf,cap_perfmon,cap_net_admin,cap_net_raw,cap_net_bind_service,cap_sys_admin,cap_dac_override=ep '/home/me/my code/devloop'"},
		"old kernel": {with(func(o *probe.Observed) { o.Kernel, o.Tap = "5.4.0", errors.New("invalid argument") }),
			"afpacket", "the eBPF tap does not work: Linux 5.4.0 is older than 5.15, which the tap needs", "install a kernel of 5.15 or newer"},
		"no cgroup v2": {with(func(o *probe.Observed) { o.CGroup, o.Tap = "", errors.New("not mounted") }),
			"afpacket", "the eBPF tap does not work: no cgroup v2 hierarchy is mounted",
			"sudo mkdir -p /sys/fs/cgroup/unified && sudo mount -t cgroup2 none /sys/fs/cgroup/unified"},
		"small container": {with(func(o *probe.Observed) { o.Missing, o.Tap = []string{"cap_bpf"}, eperm }),
			"afpacket", "the eBPF tap does not work: root without cap_bpf: this is a container with few rights", "start the container with --privileged"},
		"seccomp": {with(func(o *probe.Observed) { o.Tap = eperm }),
			"afpacket", "the eBPF tap does not work: load: operation not permitted", "ask who runs this machine whether a security module or seccomp profile forbids bpf(2)"},
		"lockdown": {with(func(o *probe.Observed) { o.Lockdown, o.Tap = "none integrity [confidentiality]", eperm }),
			"afpacket", "the eBPF tap does not work: the kernel is locked down for confidentiality and refuses eBPF", "boot without lockdown=confidentiality"},
		"macOS": {probe.Observed{OS: "darwin", Arch: "arm64"}, "none", "capture needs Linux, and this is darwin", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := probe.Judge(c.observed)
			if r.Choice != c.choice || r.Why != c.why || r.Fix != c.fix {
				t.Errorf("got  %s | %s | %s\nwant %s | %s | %s", r.Choice, r.Why, r.Fix, c.choice, c.why, c.fix)
			}
			for _, f := range r.Facts {
				if f.Detail == "" || f.OK && f.Fix != "" {
					t.Errorf("fact %+v", f)
				}
			}
		})
	}
}

// TestThisMachineHasTheTap fails where everything was promised and the tap is not what is chosen.
func TestThisMachineHasTheTap(t *testing.T) {
	testenv.NeedsRoot(t)
	if r := probe.Run(); r.Choice != probe.Tap {
		t.Errorf("chosen %s: %s (%s)", r.Choice, r.Why, r.Fix)
	}
}

func TestRunNeverPanicsWithoutRights(t *testing.T) {
	t.Parallel()
	if r := probe.Run(); r.Choice == "" || r.Why == "" || len(r.Facts) == 0 {
		t.Errorf("result %+v", r)
	}
}
