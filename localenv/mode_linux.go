package localenv

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// needed are the capabilities that network namespaces, mounts, cgroups and port 53 take.
var needed = []struct {
	bit  uint
	name string
}{
	{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN"},
	{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN"},
	{unix.CAP_DAC_OVERRIDE, "CAP_DAC_OVERRIDE"},
	{unix.CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE"},
}

// missingCapabilities names what this process lacks of what is needed.
func missingCapabilities() []string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return []string{"/proc"}
	}
	var effective uint64
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			effective, _ = strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
		}
	}
	var missing []string
	for _, c := range needed {
		if effective&(1<<c.bit) == 0 {
			missing = append(missing, c.name)
		}
	}
	return missing
}

func mayUseNetNS() bool { return len(missingCapabilities()) == 0 }

// Detect says which mode [New] would choose on this machine, and why it is not a better one.
func Detect() (Mode, string) {
	if missing := missingCapabilities(); len(missing) > 0 {
		return ModeLoopback, "network namespaces take rights that devloop does not have: " + strings.Join(missing, ", ")
	}
	mount, err := cgroupMount()
	if err != nil {
		return ModeLoopback, "network namespaces are of no use without cgroups: " + err.Error()
	}
	if !writable(mount) {
		return ModeLoopback, "cgroup v2 at " + mount + " is read-only here"
	}
	if !writable("/run") {
		return ModeLoopback, "/run is read-only here"
	}
	return ModeNetNS, "own cgroup and network namespace per service"
}

// writable asks with the capabilities of the program: plain access(2) asks for the user who called it.
func writable(dir string) bool {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS) == nil
}
