package startheap

import (
	"os"
	"runtime"
	"runtime/debug"
)

const (
	size  = 20 << 20
	least = 4 << 20 // heap of the first collection at 100 %
)

// Packages are ready in the order of their paths, as far as they do not need each other: this one, which needs little, early.
func init() {
	if os.Getenv("GOGC") != "" {
		return
	}
	usual := debug.SetGCPercent(100 * size / least)
	nobodys := new([64]byte) // gone with the first collection
	runtime.AddCleanup(nobodys, func(percent int) { debug.SetGCPercent(percent) }, usual)
}
