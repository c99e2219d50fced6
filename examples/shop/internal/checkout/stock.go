package checkout

import (
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/examples/shop/internal/stock"
)

// stockPatience is how long orders may take to say what is in stock.
const stockPatience = 2 * time.Second

// openStock makes the gRPC client of orders: STOCK_ADDR says where it is. It connects with the first call.
func openStock(s *shop.Service) (*grpc.ClientConn, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second, Resolver: s.Resolver}
	address := s.Env("STOCK_ADDR", "orders:9090")
	// passthrough: the dialer looks the name up, with the service's own resolver.
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent("shop-"+s.Name),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		}))
	if err != nil {
		return nil, fmt.Errorf("make the gRPC client of %s: %w", address, err)
	}
	return conn, nil
}

// missing asks orders which items are not in stock.
func (c *checkout) missing(ctx context.Context, order string, items []int32) ([]int32, error) {
	conn := c.stock
	if c.Fault("grpc-churn") {
		fresh, err := openStock(c.Service) // "so that nobody has to close it"
		if err != nil {
			return nil, err
		}
		defer fresh.Close()
		conn = fresh
	}
	if !c.Fault("grpc-deadline-missing") {
		patient, cancel := context.WithTimeout(ctx, c.Scale(stockPatience))
		defer cancel()
		ctx = patient
	}
	reply, err := stock.Check(passOn(ctx), conn, &stock.CheckRequest{Order: order, Items: items})
	if err != nil {
		return nil, err
	}
	return reply.Missing, nil
}

// passOn gives a gRPC call what [shop.Peer.Request] gives an HTTP call.
func passOn(ctx context.Context) context.Context {
	in := shop.From(ctx)
	pairs := []string{"x-request-id", in.RequestID, "traceparent", "00-" + in.TraceID + "-" + in.SpanID + "-01"}
	for name, value := range map[string]string{
		"tracestate": in.TraceState, "baggage": in.Baggage, "devloop-iteration": in.Iteration, "authorization": in.Authorization,
	} {
		if value != "" {
			pairs = append(pairs, name, value)
		}
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}
