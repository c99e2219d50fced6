package nodeagent

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// usage is the process's resident memory in bytes and its CPU time in seconds.
func usage() (rss int64, cpu float64) {
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident int64
		fmt.Sscan(string(b), &size, &resident)
		rss = resident * int64(os.Getpagesize())
	}
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) == nil {
		cpu = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	return rss, cpu
}

// kernel is the running kernel's release.
func kernel() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Release[:])
}
