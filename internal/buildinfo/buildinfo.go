package buildinfo

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

// version is set at link time for releases.
var version = "dev"

// Version is what `devloop version` prints first.
func Version() string { return version }

// Commit is the revision this program was built from, where the toolchain wrote it down.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}

// ID tells one build of this program from another, also between two builds of the same version: size and time of
// the executable are part of it. Client and daemon compare it.
var ID = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return version
	}
	info, err := os.Stat(path)
	if err != nil {
		return version
	}
	return fmt.Sprintf("%s-%x-%x", version, info.Size(), info.ModTime().UnixNano())
})

// Platform is the operating system and architecture this program was built for.
func Platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
