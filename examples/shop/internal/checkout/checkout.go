// Package checkout is the service that turns a cart into a paid order.
package checkout

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

type checkout struct {
	*shop.Service
	cart, payment, orders *shop.Peer
	stock                 *grpc.ClientConn
}

// New makes the service.
func New(ctx context.Context, s *shop.Service) (http.Handler, error) {
	stock, err := openStock(s)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { stock.Close() })
	c := &checkout{
		Service: s, cart: s.Peer("cart", "CART"), payment: s.Peer("payment", "PAYMENT"), orders: s.Peer("orders", "ORDERS"), stock: stock,
	}
	mux := http.NewServeMux()
	mux.Handle("POST /checkout", shop.Handle(c.buy))
	return mux, nil
}

func (c *checkout) buy(r *http.Request) (any, error) {
	ctx := r.Context()
	var what struct{ Cart string }
	if err := shop.Read(r, &what); err != nil {
		return nil, err
	}
	var full basket
	if err := c.cart.Call(ctx, "GET", "/carts/"+url.PathEscape(what.Cart), nil, &full); err != nil {
		return nil, err
	}
	order := order{ID: what.Cart + "-" + shop.From(ctx).RequestID, Cart: full.ID, Total: full.Total}
	switch missing, err := c.missing(ctx, order.ID, full.Items); {
	case err != nil: // better a late parcel than no order
		c.Log.Warn("stock unknown", "order", order.ID, "error", err)
	case len(missing) > 0:
		return nil, shop.Fail(http.StatusConflict, "not in stock: %v", missing)
	}
	status := http.StatusCreated
	receipt, err := c.pay(ctx, order)
	switch refused := (*shop.Failure)(nil); {
	case errors.As(err, &refused):
		return nil, err
	case err != nil: // nobody answered: the order stands, the charge is asked for again at night
		c.Log.Warn("payment pending", "order", order.ID, "error", err)
		order.Charge, status = "pending", http.StatusAccepted
	default:
		order.Charge = receipt.Charge
	}
	if err := c.record(ctx, order); err != nil {
		return nil, err
	}
	return shop.Answer{Status: status, Body: order}, nil
}

// pay asks payment to charge for an order.
func (c *checkout) pay(ctx context.Context, order order) (receipt, error) {
	peer := c.payment
	if c.Fault("keepalive-lost") {
		fresh := *c.payment // a client of its own for every call, and with it a connection
		transport := c.Transport("PAYMENT")
		defer transport.CloseIdleConnections()
		fresh.Client = &http.Client{Transport: transport, Timeout: c.Scale(5 * time.Second)}
		peer = &fresh
	}
	var made receipt
	err := peer.Call(ctx, "POST", "/charge", charge{Order: order.ID, Amount: order.Total}, &made)
	return made, err
}

// record writes the order down.
func (c *checkout) record(ctx context.Context, order order) error {
	request, err := c.orders.Request(ctx, "POST", "/orders", order)
	if err != nil {
		return err
	}
	if c.Fault("auth-missing") {
		request.Header.Del("Authorization")
	}
	reply, err := c.orders.Send(request)
	if err != nil {
		return shop.Fail(http.StatusBadGateway, "%v", err)
	}
	return reply.Decode("orders", nil)
}
