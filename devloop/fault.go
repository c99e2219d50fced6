package devloop

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/devloop-io/devloop/capture"
	"github.com/devloop-io/devloop/fault"
	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

const (
	faultSeconds = 60
	faultDelayMS = 200
	faultStatus  = 503
)

// faulty is an environment whose edges can have faults.
type faulty interface {
	// SetFault begins a fault, which ends by itself after a time. The port is a number or a name, and may be left out where
	// there is one.
	SetFault(ctx context.Context, f fault.Fault, port string, lasts time.Duration) (fault.Fault, error)
	// Faults are those that are there, and those that ended since a time, in the order in which they began.
	Faults(since time.Time) []fault.Fault
	// ClearFault ends a fault, or all of them when no ID is given, and makes sure that nothing of it is left.
	ClearFault(id string) ([]fault.Fault, error)
}

var _, _ faulty = local{}, inCluster{}

// faultEnvironment is the environment that runs.
func (s *Session) faultEnvironment() (faulty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.env == nil {
		return nil, &control.Error{What: "nothing runs, so there is nothing between services", Hint: "devloop up", Exit: control.ExitEnvironment}
	}
	env, ok := s.env.(faulty)
	if !ok {
		return nil, control.Usagef("devloop up", "there are no faults in the environment "+s.env.Name())
	}
	return env, nil
}

// SetFault begins a fault on the traffic from one service to another.
func (s *Session) SetFault(ctx context.Context, r control.FaultRequest) (*control.Fault, error) {
	env, err := s.faultEnvironment()
	if err != nil {
		return nil, err
	}
	to, port, _ := strings.Cut(r.To, ":")
	f, err := env.SetFault(ctx, fault.Fault{
		From: r.From, To: to, Kind: r.Kind, Rate: r.Rate, Seed: r.Seed, Status: cmp.Or(r.Status, faultStatus),
		Delay: milliseconds(cmp.Or(r.DelayMS, faultDelayMS)),
	}, port, milliseconds(1000*cmp.Or(r.Seconds, faultSeconds)))
	if err != nil {
		return nil, control.Usagef("devloop fault set --from A --to B --kind "+strings.Join(fault.Kinds, "|")+"; devloop fault list", err.Error())
	}
	a := faultOf(f)
	return &a, nil
}

// milliseconds keeps a number that is too large for a duration too large.
func milliseconds(ms float64) time.Duration {
	if !(ms < 1e12) {
		return time.Duration(1<<63 - 1)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// Faults lists the faults that are there, and those that ended lately.
func (s *Session) Faults(struct{}) (*control.FaultsAnswer, error) {
	env, err := s.faultEnvironment()
	if err != nil {
		return nil, err
	}
	return faultsOf(env.Faults(time.Time{})), nil
}

// ClearFaults ends one fault, or all.
func (s *Session) ClearFaults(_ context.Context, r control.FaultClearRequest) (*control.FaultsAnswer, error) {
	env, err := s.faultEnvironment()
	if err != nil {
		return nil, err
	}
	if r.All == (r.ID != "") {
		return nil, control.Usagef("devloop fault clear f1, or devloop fault clear --all", "say which fault is to end, or that all are")
	}
	cleared, err := env.ClearFault(r.ID)
	if err != nil {
		return nil, control.Usagef("devloop fault list; devloop down removes all", err.Error())
	}
	return faultsOf(cleared), nil
}

func faultsOf(list []fault.Fault) *control.FaultsAnswer {
	a := &control.FaultsAnswer{Faults: []control.Fault{}}
	for _, f := range list {
		a.Faults = append(a.Faults, faultOf(f))
	}
	return a
}

func faultOf(f fault.Fault) control.Fault {
	c := control.Fault{
		ID: f.ID, From: f.From, To: f.To, Port: f.Port, Kind: f.Kind, What: f.What(), Rate: f.Rate, BeganNS: f.Began.UnixNano(), UntilNS: f.Until.UnixNano(),
		Seen: f.Seen, Hit: f.Hit,
	}
	if !f.Ended.IsZero() {
		c.EndedNS = f.Ended.UnixNano()
	}
	if f.Unfit > 0 {
		c.Note = fmt.Sprintf("%d connections do not speak HTTP/1, in which alone a status can be answered; they are untouched", f.Unfit)
	}
	return c
}

// faulted says in the iteration which faults there were: its verdict is not about the code alone.
func (t *turn) faulted() {
	list := faultWarnings(t.s.environment(), time.Unix(0, t.window.began))
	t.s.update(t.it, func() { t.it.Warnings = append(t.it.Warnings, list...) })
}

// faultWarnings are sentences about the faults that there were since a time.
func faultWarnings(in environment, since time.Time) []string {
	env, ok := in.(faulty)
	if !ok {
		return nil
	}
	var list []string
	for _, f := range env.Faults(since) {
		c, text := faultOf(f), fmt.Sprintf("fault %s on %s: %s", f.ID, f.Edge(), f.What())
		if f.ByRelay() {
			text += fmt.Sprintf("; it met %d of %d requests", f.Hit, f.Seen)
		}
		if c.Note != "" {
			text += "; " + c.Note
		}
		list = append(list, text)
	}
	return list
}

// withoutRelays is a source that leaves out what faults' relays say to servers: the client's side of the conversation is
// recorded, and a call is to be there once.
type withoutRelays struct {
	capture.Source
	relay netip.Addr
}

// Run delivers the packets of the services' own conversations.
func (w withoutRelays) Run(ctx context.Context, emit func(*traffic.Packet)) error {
	if !w.relay.Is4() {
		return w.Source.Run(ctx, emit)
	}
	ip := w.relay.As4()
	relay := binary.BigEndian.Uint32(ip[:])
	return w.Source.Run(ctx, func(p *traffic.Packet) {
		if !speaks(p, relay) {
			emit(p)
		}
	})
}

// speaks says whether a packet comes from or goes to an address.
func speaks(p *traffic.Packet, addr uint32) bool {
	b := p.Data
	if p.Link == traffic.LinkEthernet {
		if len(b) < 14 || b[12] != 0x08 || b[13] != 0x00 {
			return false
		}
		b = b[14:]
	}
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	return binary.BigEndian.Uint32(b[12:]) == addr || binary.BigEndian.Uint32(b[16:]) == addr
}
