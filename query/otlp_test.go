package query

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/devloop-io/devloop/traffic"
)

// TestOTLP reads what is written with OpenTelemetry's own messages, which know no other names and types.
func TestOTLP(t *testing.T) {
	t.Parallel()
	s := checkout()
	s.calls[0].TraceID, s.calls[0].SpanID = "0AF7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	s.calls[1].Parent, s.calls[1].ParentBy = s.calls[0].ID, traffic.ByNesting
	s.calls[2].TraceID = "00000000000000000000000000000000" // W3C's invalid one
	a := must[*ExportAnswer](t)(ExportCalls(t.Context(), s.database(), ExportRequest{Format: "otlp"}, exports(t)))
	b, err := os.ReadFile(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	spans := map[string]*trace.Span{}
	for line := range bytes.Lines(b) {
		for _, r := range readOTLP(t, line).ResourceSpans {
			if len(r.Resource.Attributes) != 1 || r.Resource.Attributes[0].Key != "service.name" {
				t.Errorf("resource %v", r.Resource)
			}
			for _, span := range r.ScopeSpans[0].Spans {
				if len(span.TraceId) != 16 || len(span.SpanId) != 8 || span.Name == "" || span.StartTimeUnixNano == 0 || span.EndTimeUnixNano < span.StartTimeUnixNano {
					t.Errorf("span %v", span)
				}
				spans[span.Attributes[0].Value.GetStringValue()] = span
			}
		}
	}
	if len(spans) != a.Calls || a.Calls == 0 {
		t.Errorf("%d spans of %d calls", len(spans), a.Calls)
	}
	first, second, third := spans[s.calls[0].ID], spans[s.calls[1].ID], spans[s.calls[2].ID]
	if hex.EncodeToString(first.TraceId) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(first.ParentSpanId) != "b7ad6b7169203331" {
		t.Errorf("the wire's own identifiers are lost: %v", first)
	}
	if !bytes.Equal(second.TraceId, first.TraceId) || !bytes.Equal(second.ParentSpanId, first.SpanId) {
		t.Errorf("%v is not below %v", second, first)
	}
	if bytes.Equal(third.TraceId, make([]byte, 16)) {
		t.Error("an invalid trace is taken over")
	}
}

// readOTLP reads OTLP's JSON, whose only difference from protobuf's is how identifiers are written.
func readOTLP(t *testing.T, line []byte) *trace.TracesData {
	t.Helper()
	var doc any
	if err := json.Unmarshal(line, &doc); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(protobufIDs(t, doc))
	if err != nil {
		t.Fatal(err)
	}
	var m trace.TracesData
	if err := protojson.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return &m
}

func protobufIDs(t *testing.T, doc any) any {
	switch v := doc.(type) {
	case []any:
		for i := range v {
			v[i] = protobufIDs(t, v[i])
		}
	case map[string]any:
		for key, value := range v {
			if id, ok := value.(string); ok && (key == "traceId" || key == "spanId" || key == "parentSpanId") {
				raw, err := hex.DecodeString(id)
				if err != nil {
					t.Errorf("%s %s: %v", key, id, err)
				}
				v[key] = base64.StdEncoding.EncodeToString(raw)
				continue
			}
			v[key] = protobufIDs(t, value)
		}
	}
	return doc
}
