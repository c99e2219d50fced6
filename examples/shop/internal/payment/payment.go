// Package payment is the service that charges cards, through a gateway outside.
package payment

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// patience is how long the gateway may take.
const patience = time.Second

// Charge is what payment is asked for.
type Charge struct {
	Order  string `json:"order"`
	Amount int    `json:"amount"` // in cents
}

// Receipt is what it answers.
type Receipt struct {
	Charge string `json:"charge"`
}

type payment struct {
	*shop.Service
	gateway   *shop.Peer
	telemetry *shop.Peer
	slots     *slots
	screened  func() bool
}

// New makes the service.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	gateway, err := openGateway(ctx, s)
	if err != nil {
		return nil, err
	}
	p := &payment{
		Service: s, gateway: gateway, telemetry: s.Outside("http://telemetry.vendor.example", "TELEMETRY"),
		slots: newSlots(16, s.Fault("pool-exhaustion")), screened: everyNth(4),
	}
	charge := shop.Handle(p.charge)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charge", func(w http.ResponseWriter, r *http.Request) {
		if !p.slots.take() {
			hangUp(w)
			return
		}
		defer p.slots.give()
		charge.ServeHTTP(w, r)
	})
	return mux, nil
}

func (p *payment) charge(r *http.Request) (any, error) {
	var charge Charge
	if err := shop.Read(r, &charge); err != nil {
		return nil, err
	}
	if p.Fault("payment-slow") && p.screened() { // for fraud, while the customer waits
		if err := p.Work(r.Context(), 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.Scale(patience))
	defer cancel()
	request, err := p.gateway.Request(ctx, "POST", "/v1/charges", charge)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Idempotency-Key", charge.Order)
	reply, err := p.gateway.Send(request)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, shop.Fail(http.StatusServiceUnavailable, "the gateway took longer than %s", p.Scale(patience))
	case err != nil:
		return nil, shop.Fail(http.StatusBadGateway, "%v", err)
	}
	var made struct{ ID string }
	if err := reply.Decode("gateway", &made); err != nil {
		return nil, err
	}
	if p.Fault("new-egress") { // a vendor's library, updated
		if err := p.telemetry.Call(r.Context(), "POST", "/telemetry", map[string]int{"charged": charge.Amount}, nil); err != nil {
			p.Log.Warn("telemetry not sent", "error", err)
		}
	}
	return Receipt{Charge: made.ID}, nil
}

// hangUp resets the connection of a request that nobody has time for.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// slots bound how many charges are under way.
type slots struct {
	free      chan struct{}
	exhausted func() bool
}

func newSlots(n int, exhaust bool) *slots {
	s := &slots{free: make(chan struct{}, n), exhausted: func() bool { return false }}
	if exhaust {
		s.exhausted = everyNth(16) // slots leaked by failed charges, collected now and then
	}
	return s
}

func (s *slots) take() bool {
	if s.exhausted() {
		return false
	}
	s.free <- struct{}{}
	return true
}

func (s *slots) give() { <-s.free }
