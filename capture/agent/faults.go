package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/devloop-io/devloop/fault"
)

// Fault is what an agent does to the traffic of the pods of its node.
type Fault struct {
	ID     string           `json:"id"`
	Kind   string           `json:"kind"` // one of fault.Kinds
	Rate   float64          `json:"rate"`
	Delay  time.Duration    `json:"delay_ns,omitempty"`
	Status int              `json:"status,omitempty"`
	Seed   uint64           `json:"seed,omitempty"`
	Lasts  time.Duration    `json:"lasts_ns"` // from when the agent is told of it first: it ends by itself
	Pods   []string         `json:"pods"`     // UIDs of the clients; those of other nodes mean nothing
	To     []netip.AddrPort `json:"to"`       // where clients find the server: its Service, its pods
}

// Faults are all that there are to be. It is the body of PUT /faults: what is not in it ends.
type Faults struct {
	Faults []Fault `json:"faults"`
	// Relays are the addresses of all agents. What these say is no workload's, and is not recorded.
	Relays []netip.Addr `json:"relays,omitempty"`
}

// Bounds of [Faults].
const (
	MaxFaults       = 64
	MaxDestinations = 256 // of one fault
	MaxRelays       = 1024
)

// Validate says what is wrong with faults.
func (f *Faults) Validate() error {
	if len(f.Faults) > MaxFaults || len(f.Relays) > MaxRelays {
		return fmt.Errorf("read faults: at most %d faults and %d relays", MaxFaults, MaxRelays)
	}
	seen := map[string]bool{}
	for _, x := range f.Faults {
		if x.ID == "" || len(x.ID) > 64 || seen[x.ID] {
			return fmt.Errorf("read faults: the id %.70q is empty, too long or there twice", x.ID)
		}
		seen[x.ID] = true
		of := x.Of()
		if err := of.Check(x.Lasts); err != nil {
			return fmt.Errorf("read fault %s: %w", x.ID, err)
		}
		if len(x.To) > MaxDestinations || len(x.Pods) > MaxPods {
			return fmt.Errorf("read fault %s: at most %d destinations and %d pods", x.ID, MaxDestinations, MaxPods)
		}
		for _, to := range x.To {
			if !to.Addr().Is4() || to.Port() == 0 {
				return fmt.Errorf("read fault %s: %s is no IPv4 address with a port", x.ID, to)
			}
		}
	}
	return nil
}

// Of is the fault in the words of package fault.
func (f *Fault) Of() fault.Fault {
	return fault.Fault{ID: f.ID, Kind: f.Kind, Rate: f.Rate, Delay: f.Delay, Status: f.Status, Seed: f.Seed}
}

// FaultState is what became of one fault on one node.
type FaultState struct {
	ID      string `json:"id"`
	Pods    int    `json:"pods"` // of this node that it is for
	Seen    int    `json:"seen"`
	Hit     int    `json:"hit"`
	Unfit   int    `json:"unfit"`
	Over    bool   `json:"over,omitempty"`
	Problem string `json:"problem,omitempty"` // why it is not there, or did not end
}

// FaultStates answers GET and PUT /faults: those that are there, and those that ended lately.
type FaultStates struct {
	Address netip.Addr   `json:"address"` // from which the agent's relays speak
	Faults  []FaultState `json:"faults"`
}

// Faults asks which faults there are.
func (c *Client) Faults(ctx context.Context) (s FaultStates, err error) {
	return s, c.do(ctx, http.MethodGet, "/faults", nil, &s)
}

// SetFaults says which faults there are to be.
func (c *Client) SetFaults(ctx context.Context, f Faults) (s FaultStates, err error) {
	if err := f.Validate(); err != nil {
		return s, err
	}
	return s, c.do(ctx, http.MethodPut, "/faults", f, &s)
}
