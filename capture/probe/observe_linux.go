package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/capture/afpacket"
	"github.com/devloop-io/devloop/capture/tap"
)

func observe() Observed {
	o := Observed{OS: runtime.GOOS, Arch: runtime.GOARCH, Root: os.Geteuid() == 0, Missing: missing()}
	if path, err := os.Executable(); err == nil {
		o.Binary = path
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		o.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if b, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil {
		o.Lockdown = strings.TrimSpace(string(b))
	}
	var err error
	if o.CGroup, err = tap.Mount(); err != nil {
		o.Tap = err
	} else {
		o.Tap = tryTap(o.CGroup)
	}
	o.Packets = tryPackets()
	return o
}

// tryTap attaches the tap to a new, empty cgroup, so that nothing is captured.
func tryTap(mount string) error {
	dir, err := os.MkdirTemp(mount, fmt.Sprintf("devloop-probe-%d-", os.Getpid()))
	if err != nil {
		return fmt.Errorf("make a cgroup: %w", err)
	}
	defer os.Remove(filepath.Clean(dir))
	t, err := tap.Open(tap.Options{CGroup: dir, RingSize: 64 << 10})
	if err != nil {
		return err
	}
	return t.Close()
}

func tryPackets() error {
	s, err := afpacket.Open(afpacket.Options{Targets: []capture.Target{{Name: "this machine"}}, BlockSize: 128 << 10, Blocks: 1})
	if err != nil {
		return err
	}
	return s.Close()
}

// The bits of the capabilities in [Needed], include/uapi/linux/capability.h.
var bits = map[string]int{
	"cap_dac_override":     unix.CAP_DAC_OVERRIDE,
	"cap_net_bind_service": unix.CAP_NET_BIND_SERVICE,
	"cap_net_admin":        unix.CAP_NET_ADMIN,
	"cap_net_raw":          unix.CAP_NET_RAW,
	"cap_sys_admin":        unix.CAP_SYS_ADMIN,
	"cap_perfmon":          unix.CAP_PERFMON,
	"cap_bpf":              unix.CAP_BPF,
}

// missing lists which of the needed capabilities the process does not have. A kernel too old for some of them has
// sys_admin stand for those.
func missing() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	var effective uint64
	for line := range strings.Lines(string(status)) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, _ = strconv.ParseUint(strings.TrimSpace(v), 16, 64)
		}
	}
	var list []string
	for _, name := range Needed {
		stands := (name == "cap_bpf" || name == "cap_perfmon") && effective&(1<<unix.CAP_SYS_ADMIN) != 0
		if effective&(1<<bits[name]) == 0 && !stands {
			list = append(list, name)
		}
	}
	return list
}
