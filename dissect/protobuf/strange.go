package protobuf

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/traffic"
)

// maxStrange bounds what is said of one call.
const maxStrange = 16

var errNotWhole = errors.New("its messages were not seen whole")

// Strange says what of a gRPC call is not as it is defined: the method, bytes that are no such message, fields that its type
// lacks. The error says why it cannot be told.
func (t *Types) Strange(c *traffic.Call) ([]string, error) {
	in, out := t.method(c.GRPC.Service, c.GRPC.Method)
	if in == nil {
		return []string{"the method is not defined"}, nil
	}
	h := c.HTTP
	if h == nil || h.BodyError != "" {
		return nil, errNotWhole
	}
	var strange []string
	for _, side := range []struct {
		name    string
		body    []byte
		headers []traffic.Header
		count   int
		cut     bool
		t       *message
	}{
		{"request", h.RequestBody, h.RequestHeaders, c.GRPC.RequestMessages, h.RequestBodyCut, in},
		{"response", h.ResponseBody, h.ResponseHeaders, c.GRPC.ResponseMessages, h.ResponseBodyCut, out},
	} {
		content := header(side.headers, "content-type")
		all := split(side.body, grpc.IsText(content), header(side.headers, "grpc-encoding"), maxMessages, maxMessage)
		for _, b := range all {
			if b == nil {
				return strange, errNotWhole
			}
			found := side.t.strange(b, strings.Contains(content, "+json"))
			for _, s := range found {
				if s = side.name + " message " + s; !slices.Contains(strange, s) && len(strange) < maxStrange {
					strange = append(strange, s)
				}
			}
		}
		if len(strange) == 0 && (side.cut || len(all) < side.count) {
			return nil, errNotWhole
		}
	}
	return strange, nil
}

// maxMessage bounds one message.
const maxMessage = 4 << 20

func (m *message) strange(b []byte, asJSON bool) []string {
	msg := dynamicpb.NewMessage(m.desc)
	if asJSON {
		if (protojson.UnmarshalOptions{Resolver: m.resolver, AllowPartial: true, RecursionLimit: 100}).Unmarshal(b, msg) != nil {
			return []string{fmt.Sprintf("is no %s", m.desc.FullName())}
		}
		return nil
	}
	if (proto.UnmarshalOptions{Resolver: m.resolver, RecursionLimit: 100, AllowPartial: true}).Unmarshal(b, msg) != nil {
		return []string{fmt.Sprintf("is no %s", m.desc.FullName())}
	}
	return unknownFields(msg, nil)
}

// unknownFields names the fields that a message or one within it has and its type has not.
func unknownFields(m protoreflect.Message, all []string) []string {
	for b := m.GetUnknown(); len(b) > 0 && len(all) < maxStrange; {
		number, _, n := protowire.ConsumeField(b)
		if n < 0 {
			break
		}
		all = append(all, fmt.Sprintf("has field %d, which %s lacks", number, m.Descriptor().FullName()))
		b = b[n:]
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				all = unknownFields(v.Message(), all)
				return len(all) < maxStrange
			})
		case f.IsList() && f.Message() != nil:
			for i := 0; i < v.List().Len() && len(all) < maxStrange; i++ {
				all = unknownFields(v.List().Get(i).Message(), all)
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			all = unknownFields(v.Message(), all)
		}
		return len(all) < maxStrange
	})
	return all
}
