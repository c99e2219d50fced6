package contract

import (
	"context"
	"fmt"

	"github.com/devloop-io/devloop/dissect/protobuf"
	"github.com/devloop-io/devloop/traffic"
)

// protos makes a check of gRPC calls by the definitions of their services: the method is defined, and its messages have no fields
// and no bytes but those of their types.
func protos(ctx context.Context, files Files, file string) (func(*traffic.Call) (Conformance, []string), error) {
	types, err := protobuf.LoadFrom(ctx, files, file)
	if err != nil {
		return nil, err
	}
	return func(c *traffic.Call) (Conformance, []string) {
		if c.GRPC == nil {
			return Other, nil
		}
		name := c.GRPC.Service + "/" + c.GRPC.Method
		strange, err := types.Strange(c)
		if err != nil {
			return Open, []string{name + ": " + err.Error()}
		}
		var broken []string
		for _, s := range strange {
			broken = append(broken, fmt.Sprintf("%s: %s", name, s))
		}
		return judged(broken, nil)
	}, nil
}
