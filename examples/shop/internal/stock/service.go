package stock

import (
	"context"

	"google.golang.org/grpc"
)

// CheckMethod is the full name of Check, and its path on the wire.
const CheckMethod = "/shop.v1.Stock/Check"

// Server answers shop.v1.Stock.
type Server interface {
	// Check says which items of an order are missing.
	Check(context.Context, *CheckRequest) (*CheckReply, error)
}

// Register lets a gRPC server answer with s.
func Register(r grpc.ServiceRegistrar, s Server) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: "shop.v1.Stock",
		HandlerType: (*Server)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: check}},
		Metadata:    "stock.proto",
	}, s)
}

func check(server any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	request := &CheckRequest{}
	if err := decode(request); err != nil {
		return nil, err
	}
	return server.(Server).Check(ctx, request)
}

// Check asks the server behind a connection.
func Check(ctx context.Context, c grpc.ClientConnInterface, request *CheckRequest) (*CheckReply, error) {
	reply := &CheckReply{}
	return reply, c.Invoke(ctx, CheckMethod, request, reply)
}
