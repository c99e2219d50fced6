package baseline

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Host is where a baseline was recorded, as far as it matters to latencies.
type Host struct {
	CPU     string `yaml:"cpu,omitempty" json:"cpu,omitempty"`
	Cores   int    `yaml:"cores" json:"cores"`
	OS      string `yaml:"os" json:"os"`
	Arch    string `yaml:"arch" json:"arch"`
	Kernel  string `yaml:"kernel,omitempty" json:"kernel,omitempty"`   // 6.8: patches do not matter
	Virtual string `yaml:"virtual,omitempty" json:"virtual,omitempty"` // container, vm or both
}

// ThisHost looks at the machine. What cannot be found out stays empty.
func ThisHost() Host {
	h := Host{Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, _ := os.ReadFile("/proc/cpuinfo") // Linux only; elsewhere the fields stay empty
	scan := bufio.NewScanner(bytes.NewReader(info))
	var virtual []string
	for scan.Scan() {
		key, value, _ := strings.Cut(scan.Text(), ":")
		switch strings.TrimSpace(key) {
		case "model name":
			h.CPU = clean(value)
		case "flags":
			if len(virtual) == 0 && strings.Contains(value+" ", " hypervisor ") {
				virtual = append(virtual, "vm")
			}
		}
	}
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := os.Stat(mark); err == nil {
			virtual = append(virtual, "container")
			break
		}
	}
	h.Virtual = strings.Join(virtual, " ")
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	if parts := strings.SplitN(strings.TrimSpace(string(release)), ".", 3); len(parts) >= 2 {
		h.Kernel = clean(parts[0] + "." + parts[1])
	}
	return h
}

// String names the host.
func (h Host) String() string {
	s := fmt.Sprintf("%s/%s, %d cores", h.OS, h.Arch, h.Cores)
	for _, more := range []string{h.CPU, h.Kernel, h.Virtual} {
		if more != "" {
			s += ", " + more
		}
	}
	return s
}
