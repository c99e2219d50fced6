package localenv

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The kinds of faults.
const (
	FaultLatency  = "latency"  // what the client sends waits before it goes on
	FaultStatus   = "status"   // an HTTP/1 request is answered with a status, and the server never sees it
	FaultRefuse   = "refuse"   // a connection is refused
	FaultReset    = "reset"    // the connection is reset when the client asks
	FaultStall    = "stall"    // nothing is answered any more, and the connection stays open
	FaultTruncate = "truncate" // the connection ends in the middle of an answer
	FaultDrop     = "drop"     // packets are lost, in both directions
)

// FaultKinds are all of them.
var FaultKinds = []string{FaultLatency, FaultStatus, FaultRefuse, FaultReset, FaultStall, FaultTruncate, FaultDrop}

// Bounds of faults.
const (
	MaxFaultTime  = time.Hour
	MaxFaultDelay = 30 * time.Second
	keepEnded     = 50 // faults that are over and still told of
)

// Fault is what happens to the traffic of one client to one port of a server, while neither of them knows of it.
type Fault struct {
	ID       string
	From, To string
	Port     int
	Kind     string
	Rate     float64 // of the requests, connections or packets; 1 is all
	Delay    time.Duration
	Status   int
	Seed     uint64
	Began    time.Time
	Until    time.Time // when it ends by itself
	Ended    time.Time // zero while it is there
	Seen     int       // requests or connections that it could have met; 0 for drop and refuse, which the kernel does
	Hit      int       // those that it met
	Unfit    int       // connections of a protocol in which it cannot be said
}

// Edge is who asks whom: "checkout → payment:8080".
func (f Fault) Edge() string { return fmt.Sprintf("%s → %s:%d", f.From, f.To, f.Port) }

// What says in words what happens.
func (f Fault) What() string {
	what := f.Kind
	switch f.Kind {
	case FaultLatency:
		what += " " + f.Delay.String()
	case FaultStatus:
		what += fmt.Sprintf(" %d", f.Status)
	}
	if f.Rate < 1 {
		what += fmt.Sprintf(" at a rate of %g", f.Rate)
	}
	return what
}

// check fills in defaults and refuses what is out of bounds.
func (f *Fault) check(lasts time.Duration) error {
	if !slices.Contains(FaultKinds, f.Kind) {
		return fmt.Errorf("there is no fault %q; the kinds are %s", f.Kind, strings.Join(FaultKinds, ", "))
	}
	if f.Rate == 0 {
		f.Rate = 1
	}
	if !(f.Rate > 0 && f.Rate <= 1) {
		return fmt.Errorf("rate %g: more than 0 and at most 1", f.Rate)
	}
	if lasts <= 0 || lasts > MaxFaultTime {
		return fmt.Errorf("a fault lasts more than 0 and at most %s, not %s", MaxFaultTime, lasts)
	}
	if f.Kind == FaultLatency && (f.Delay <= 0 || f.Delay > MaxFaultDelay) {
		return fmt.Errorf("delay %s: more than 0 and at most %s", f.Delay, MaxFaultDelay)
	}
	if f.Kind == FaultStatus && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("status %d: 200 to 599", f.Status)
	}
	return nil
}
