//go:build !linux || !(amd64 || arm64)

package detour

import "net/netip"

// Detour is one; there are none on this operating system.
type Detour struct{}

// Open says that there are none.
func Open(Way, float64) (*Detour, error) { return nil, ErrUnsupported }

// To says that there are none.
func (*Detour) To(destination, instead netip.AddrPort) error { return ErrUnsupported }

// Over says that there are none.
func (*Detour) Over(cgroups []string) error { return ErrUnsupported }

// Close has nothing to take away.
func (*Detour) Close() error { return nil }
