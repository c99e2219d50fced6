package startheap

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

const (
	size  = 20 << 20
	least = 4 << 20 // heap of the first collection at 100 %
)

var start struct {
	sync.Mutex
	on    bool
	usual int // percentage
}

// Packages are ready in the order of their paths, as far as they do not need each other: this one, which needs little, early.
func init() {
	if os.Getenv("GOGC") != "" {
		return
	}
	start.on, start.usual = true, debug.SetGCPercent(100*size/least)
	nobodys := new([64]byte) // gone with the first collection
	runtime.AddCleanup(nobodys, func(struct{}) { End() }, struct{}{})
}

// End has the collector work as always from now on. Who sets a percentage of their own calls it before.
func End() {
	start.Lock()
	defer start.Unlock()
	if start.on {
		start.on = false
		debug.SetGCPercent(start.usual)
	}
}
