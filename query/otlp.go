package query

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/internal/buildinfo"
	"github.com/devloop-io/devloop/traffic"
)

// otlpCalls writes calls as OpenTelemetry traces: a line of JSON for each bundle of spans, as the collector's file exporter does
// (opentelemetry.io/docs/specs/otel/protocol/file-exporter); each line is also the body of a request to /v1/traces. A call is a span of the
// service that served it, or of the caller where the server is outside. Identifiers are W3C's where the call carried a trace, else
// digests, so that the same bytes give the same ones.
type otlpCalls struct {
	w     io.Writer
	spans map[string][]otlpSpan // by service
	n     int
	known map[string]otlpContext // calls that were written
}

// What is held at most.
const (
	otlpBundle = 500
	otlpKnown  = 1 << 20 // calls that can be parents
)

// otlpContext says where a call's span is.
type otlpContext struct{ trace, span string }

// The messages of opentelemetry/proto/trace/v1, in OTLP's JSON: identifiers are hexadecimal, 64 bit numbers are text.
type (
	otlpResourceSpans struct {
		Resource   otlpResource     `json:"resource"`
		ScopeSpans []otlpScopeSpans `json:"scopeSpans"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpScopeSpans struct {
		Scope otlpScope  `json:"scope"`
		Spans []otlpSpan `json:"spans"`
	}
	otlpScope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	otlpSpan struct {
		TraceID    string          `json:"traceId"`
		SpanID     string          `json:"spanId"`
		Parent     string          `json:"parentSpanId,omitempty"`
		Name       string          `json:"name"`
		Kind       int             `json:"kind"`
		Start      string          `json:"startTimeUnixNano"`
		End        string          `json:"endTimeUnixNano"`
		Attributes []otlpAttribute `json:"attributes"`
		Links      []otlpLink      `json:"links,omitempty"`
		Status     *otlpStatus     `json:"status,omitempty"`
	}
	otlpLink struct {
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	}
	otlpStatus struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code"`
	}
	otlpAttribute struct {
		Key   string    `json:"key"`
		Value otlpValue `json:"value"`
	}
	otlpValue struct {
		Text   *string `json:"stringValue,omitempty"`
		Number *string `json:"intValue,omitempty"`
		Truth  *bool   `json:"boolValue,omitempty"`
	}
)

// Of opentelemetry.proto.trace.v1.
const (
	otlpServer      = 2
	otlpClient      = 3
	otlpStatusError = 2
)

func (x *otlpCalls) begin() error {
	x.spans, x.known = map[string][]otlpSpan{}, map[string]otlpContext{}
	return nil
}

// call takes calls oldest first, so that parents come before what they caused. One that still waits has no end, and so no place.
func (x *otlpCalls) call(c *traffic.Call) (bool, error) {
	if !c.Asked() || c.State == traffic.StateOpen || c.End < c.Start {
		return false, nil
	}
	at := otlpContext{span: otlpDigest(c, "span")[:16]}
	parent, caused := x.known[c.Parent]
	switch {
	case identifier(c.TraceID, 32):
		at.trace = strings.ToLower(c.TraceID)
	case caused:
		at.trace = parent.trace
	default:
		at.trace = otlpDigest(c, "trace")[:32]
	}
	if len(x.known) < otlpKnown {
		x.known[c.ID] = at
	}
	service, kind := nameOf(&c.Dst), otlpServer
	if c.Dst.Outside || c.Dst.Service == "" && c.Dst.Workload.Name() == "" {
		service, kind = nameOf(&c.Src), otlpClient
	}
	s := otlpSpan{
		TraceID: at.trace, SpanID: at.span, Name: asked(c), Kind: kind, Start: strconv.FormatInt(c.Start, 10), End: strconv.FormatInt(c.End, 10),
		Attributes: otlpAttributes(c), Status: otlpStatusOf(c),
	}
	if caused && parent.trace == at.trace {
		s.Parent = parent.span
	}
	if identifier(c.TraceID, 32) && identifier(c.SpanID, 16) { // the span that the service itself tells of
		if s.Parent == "" {
			s.Parent = strings.ToLower(c.SpanID)
		} else {
			s.Links = []otlpLink{{at.trace, strings.ToLower(c.SpanID)}}
		}
	}
	x.spans[service] = append(x.spans[service], s)
	if x.n++; x.n >= otlpBundle {
		return true, x.end()
	}
	return true, nil
}

// end writes the spans that are held.
func (x *otlpCalls) end() error {
	if x.n == 0 {
		return nil
	}
	var all []otlpResourceSpans
	for _, service := range slices.Sorted(maps.Keys(x.spans)) {
		all = append(all, otlpResourceSpans{
			Resource:   otlpResource{Attributes: []otlpAttribute{text("service.name", service)}},
			ScopeSpans: []otlpScopeSpans{{Scope: otlpScope{Name: "devloop", Version: buildinfo.Version()}, Spans: x.spans[service]}},
		})
	}
	x.spans, x.n = map[string][]otlpSpan{}, 0
	b, err := json.Marshal(map[string]any{"resourceSpans": all})
	if err != nil {
		return err
	}
	_, err = x.w.Write(append(b, '\n'))
	return err
}

// otlpDigest makes an identifier of a call, the same for the same bytes.
func otlpDigest(c *traffic.Call, what string) string {
	sum := sha256.Sum256([]byte(what + "\x00" + c.ID + "\x00" + strconv.FormatInt(c.Start, 10)))
	return hex.EncodeToString(sum[:])
}

// identifier reports whether a text is W3C's: so many hexadecimal digits, not all zero.
func identifier(s string, digits int) bool {
	if len(s) != digits || strings.Trim(s, "0") == "" {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

func text(key, value string) otlpAttribute {
	return otlpAttribute{key, otlpValue{Text: &value}}
}

func number(key string, value int64) otlpAttribute {
	n := strconv.FormatInt(value, 10)
	return otlpAttribute{key, otlpValue{Number: &n}}
}

// otlpAttributes are a call's facts by the names of OpenTelemetry's semantic conventions, and ours beside them.
func otlpAttributes(c *traffic.Call) []otlpAttribute {
	list := []otlpAttribute{text("devloop.call.id", c.ID), text("network.protocol.name", c.Protocol), text("client.address", nameOf(&c.Src)), text("server.address", nameOf(&c.Dst)), number("server.port", int64(c.Dst.Port))}
	add := func(key, value string) {
		if value != "" {
			list = append(list, text(key, strings.ToValidUTF8(value, "\uFFFD")))
		}
	}
	add("devloop.capture.point", c.Point)
	switch {
	case c.GRPC != nil:
		add("rpc.system", "grpc")
		add("rpc.service", c.GRPC.Service)
		add("rpc.method", c.GRPC.Method)
		if c.GRPC.Status >= 0 {
			list = append(list, number("rpc.grpc.status_code", int64(c.GRPC.Status)))
		}
	case c.HTTP != nil:
		add("http.request.method", c.Method)
		add("url.path", c.Path)
		add("http.route", c.Route)
		add("network.protocol.version", c.HTTP.Version)
		if c.Status > 0 {
			list = append(list, number("http.response.status_code", int64(c.Status)))
		}
		if c.Retry != nil && c.Retry.Attempt > 1 {
			list = append(list, number("http.request.resend_count", int64(c.Retry.Attempt-1)))
		}
		list = append(list, number("http.request.body.size", c.RequestSize), number("http.response.body.size", c.ResponseSize))
	case c.PostgreSQL != nil:
		add("db.system.name", "postgresql")
		add("db.namespace", c.PostgreSQL.Database)
		add("db.query.summary", c.PostgreSQL.Fingerprint)
		add("db.response.status_code", c.PostgreSQL.SQLState)
	case c.Redis != nil:
		add("db.system.name", "redis")
		add("db.operation.name", c.Redis.Command)
	case c.DNS != nil:
		add("dns.question.name", c.Path)
	}
	add("error.type", c.Error)
	return list
}

// otlpStatusOf is an error where there was no whole answer, or one that says that the server failed; nothing else is known to be well.
func otlpStatusOf(c *traffic.Call) *otlpStatus {
	switch {
	case !c.Answered() || c.State == traffic.StateTruncated:
		return &otlpStatus{cmp.Or(c.Error, string(c.State)), otlpStatusError}
	case c.GRPC != nil && c.GRPC.Status > 0, c.GRPC == nil && c.HTTP != nil && c.Status >= 500:
		return &otlpStatus{result(c), otlpStatusError}
	case c.PostgreSQL != nil && c.PostgreSQL.SQLState != "", c.Redis != nil && c.Redis.Error != "":
		return &otlpStatus{result(c), otlpStatusError}
	}
	return nil
}
