package protobuf

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Types are the messages of methods. Nil knows none. They may be used from several goroutines.
type Types struct {
	methods map[string][2]*message // by "package.Service/Method": of the request, of the response
}

// message is a type with what names the messages in its google.protobuf.Any fields.
type message struct {
	desc     protoreflect.MessageDescriptor
	resolver resolver
}

// resolver is what protojson asks.
type resolver interface {
	protoregistry.MessageTypeResolver
	protoregistry.ExtensionTypeResolver
}

// add takes the services of a file. Of two descriptions of a method the first one counts.
func (t *Types) add(file protoreflect.FileDescriptor, r resolver) {
	for i := range file.Services().Len() {
		s := file.Services().Get(i)
		for k := range s.Methods().Len() {
			m := s.Methods().Get(k)
			name := string(s.FullName()) + "/" + string(m.Name())
			if _, known := t.methods[name]; !known {
				t.methods[name] = [2]*message{{m.Input(), r}, {m.Output(), r}}
			}
		}
	}
}

// Methods is how many methods are described.
func (t *Types) Methods() int { return len(t.methods) }

// method is the types of a method, nil where they are not known.
func (t *Types) method(service, name string) (in, out *message) {
	if t == nil {
		return nil, nil
	}
	both := t.methods[service+"/"+name]
	return both[0], both[1]
}

// json renders a message with the names of its fields; nil where the bytes are no such message.
func (m *message) json(b []byte) []byte {
	if m == nil {
		return nil
	}
	msg := dynamicpb.NewMessage(m.desc)
	if (proto.UnmarshalOptions{Resolver: m.resolver, RecursionLimit: 100, AllowPartial: true}).Unmarshal(b, msg) != nil {
		return nil
	}
	text, err := protojson.MarshalOptions{Resolver: m.resolver, UseProtoNames: true, AllowPartial: true}.Marshal(msg)
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	if json.Compact(&out, text) != nil { // protojson varies its blanks on purpose; the same bytes must give the same rows
		return nil
	}
	return out.Bytes()
}
