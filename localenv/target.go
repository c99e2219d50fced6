package localenv

import "github.com/devloop-io/devloop/traffic"

// Target tells a capture source what to capture and what to call it.
type Target struct {
	CGroup     uint64
	CGroupPath string
	NetNS      string // path
	Name       string // "local/payment"
	Workload   traffic.Workload
}
