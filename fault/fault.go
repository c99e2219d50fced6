package fault

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The kinds of faults.
const (
	Latency  = "latency"  // what the client sends waits before it goes on
	Status   = "status"   // an HTTP/1 request is answered with a status, and the server never sees it
	Refuse   = "refuse"   // a connection is refused
	Reset    = "reset"    // the connection is reset when the client asks
	Stall    = "stall"    // nothing is answered any more, and the connection stays open
	Truncate = "truncate" // the connection ends in the middle of an answer
	Drop     = "drop"     // packets are lost, in both directions
)

// Kinds are all of them.
var Kinds = []string{Latency, Status, Refuse, Reset, Stall, Truncate, Drop}

// Bounds of faults.
const (
	MaxTime   = time.Hour
	MaxDelay  = 30 * time.Second
	KeepEnded = 50 // faults that are over and still told of
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

// ByRelay says whether the fault takes a [Relay]: else the kernel does it alone, and counts nothing.
func (f Fault) ByRelay() bool { return f.Kind != Refuse && f.Kind != Drop }

// Edge is who asks whom: "checkout → payment:8080".
func (f Fault) Edge() string { return fmt.Sprintf("%s → %s:%d", f.From, f.To, f.Port) }

// What says in words what happens.
func (f Fault) What() string {
	what := f.Kind
	switch f.Kind {
	case Latency:
		what += " " + f.Delay.String()
	case Status:
		what += fmt.Sprintf(" %d", f.Status)
	}
	if f.Rate < 1 {
		what += fmt.Sprintf(" at a rate of %g", f.Rate)
	}
	return what
}

// Check fills in defaults and refuses what is out of bounds.
func (f *Fault) Check(lasts time.Duration) error {
	if !slices.Contains(Kinds, f.Kind) {
		return fmt.Errorf("there is no fault %q; the kinds are %s", f.Kind, strings.Join(Kinds, ", "))
	}
	if f.Rate == 0 {
		f.Rate = 1
	}
	if !(f.Rate > 0 && f.Rate <= 1) {
		return fmt.Errorf("rate %g: more than 0 and at most 1", f.Rate)
	}
	if lasts <= 0 || lasts > MaxTime {
		return fmt.Errorf("a fault lasts more than 0 and at most %s, not %s", MaxTime, lasts)
	}
	if f.Kind == Latency && (f.Delay <= 0 || f.Delay > MaxDelay) {
		return fmt.Errorf("delay %s: more than 0 and at most %s", f.Delay, MaxDelay)
	}
	if f.Kind == Status && (f.Status < 200 || f.Status > 599) {
		return fmt.Errorf("status %d: 200 to 599", f.Status)
	}
	return nil
}

// PortOf is the port of a server that is meant by a number or a name, of those that it declares; its only one when none is said.
func PortOf(server string, declared map[string]int, meant string) (int, error) {
	var known []string
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		number := declared[name]
		if meant == name || meant == fmt.Sprint(number) || meant == "" && len(declared) == 1 {
			return number, nil
		}
		known = append(known, fmt.Sprintf("%s:%d (%s)", server, number, name))
	}
	return 0, fmt.Errorf("which port of %s? It declares: %s", server, cmp.Or(strings.Join(known, ", "), "none"))
}
