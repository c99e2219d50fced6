package detour

import "errors"

// Way is what becomes of traffic to the destinations.
type Way int

// The ways.
const (
	Turn Way = iota // TCP connections are turned to other destinations
	Lose            // packets from and to the destinations are lost
)

// ErrUnsupported says that detours need Linux on amd64 or arm64.
var ErrUnsupported = errors.New("detours need eBPF: Linux on amd64 or arm64")
