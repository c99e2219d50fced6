package http2

import (
	"strconv"

	"github.com/devloop-io/devloop/dissect/grpc"
	"github.com/devloop-io/devloop/dissect/http1"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/traffic"
)

// message takes a header list: of a request, a response or its trailers.
func (p *Parser) message(h protocol.Host, from protocol.Side, b *block, fields []field, missing int, err error) {
	var x *stream
	switch {
	case from == protocol.Client || b.Promise:
		x = p.request(h, b, fields, missing)
	default:
		x = p.response(h, b, fields, missing)
	}
	if x == nil {
		if b.Flags&flagEndStream != 0 {
			p.closeSocket(h, from, b.Stream)
		}
		return
	}
	web := x.Call.HTTP
	web.UnknownHeaders += missing
	if err != nil && web.BodyError == "" {
		web.BodyError = "headers: " + err.Error()
	}
	switch {
	case b.Promise:
		x.RequestDone = true
	case from == protocol.Server && x.switched(b):
		p.toSocket(h, x, missing)
	case b.Flags&flagEndStream != 0:
		p.endStream(h, from, x)
	}
}

// begins reports whether a header list begins a message rather than end it: pseudo-fields come first.
func begins(fields []field) bool {
	return len(fields) > 0 && fields[0].Name != "" && fields[0].Name[0] == ':'
}

func (p *Parser) request(h protocol.Host, b *block, fields []field, missing int) *stream {
	x := p.find(b.Stream)
	if x == nil {
		if !p.fresh(b.Stream) {
			return nil
		}
		if !begins(fields) && missing == 0 {
			x = p.half(h, b.Stream, protocol.Client)
		} else {
			x = p.add(h, b.Stream)
		}
	}
	x.Request.Add(b.Span.First)
	x.Request.Add(b.Span.Last)
	c, web := x.Call, x.Call.HTTP
	web.RequestHeadersSize += b.Size
	if x.RequestBegun {
		x.trailers(protocol.Client, fields)
		return x
	}
	x.RequestBegun = true
	web.Pushed = b.Promise
	web.RequestHeaders = h.Memory().Headers(len(fields))
	var trace http1.Trace
	var target, host, contentType, timeout, encoding string
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case ":method":
			c.Method = f.Value
			continue
		case ":path":
			target = f.Value
			continue
		case ":authority":
			web.Host = f.Value
			continue
		case ":scheme":
			continue
		case ":protocol": // extended CONNECT (RFC 8441)
			web.Upgrade = f.Value
			continue
		case "host":
			host = f.Value
		case "content-encoding":
			x.Coding[protocol.Client] = f.Value
		case "content-type":
			contentType = f.Value
		case "user-agent":
			trace.Agent = f.Value
		case "traceparent":
			trace.Parent = f.Value
		case "baggage":
			trace.Baggage = f.Value
		case "devloop-iteration":
			trace.Iteration = f.Value
		case "grpc-timeout":
			timeout = f.Value
		case "grpc-encoding":
			encoding = f.Value
		}
		web.RequestHeaders = append(web.RequestHeaders, traffic.Header{Name: f.Name, Value: f.Value})
	}
	if web.Host == "" {
		web.Host = host
	}
	c.Path, web.Query = http1.SplitTarget(target)
	if c.Method == "CONNECT" && target == "" {
		c.Path = web.Host
		if web.Upgrade == "" {
			web.Upgrade = "tunnel"
		}
	}
	x.NoRequest = missing > 0 && (c.Method == "" || c.Path == "")
	trace.Note(c)
	if grpc.Is(contentType) {
		x.grpc(contentType, encoding)
		c.GRPC.TimeoutNS = grpc.Timeout(timeout)
	}
	return x
}

func (p *Parser) response(h protocol.Host, b *block, fields []field, missing int) *stream {
	x := p.find(b.Stream)
	if x == nil {
		if !p.fresh(b.Stream) {
			return nil
		}
		x = p.half(h, b.Stream, protocol.Server)
	}
	c, web := x.Call, x.Call.HTTP
	status := 0
	for i := range fields {
		if fields[i].Name == ":status" {
			status, _ = strconv.Atoi(fields[i].Value)
			break
		}
	}
	if status >= 100 && status < 200 && b.Flags&flagEndStream == 0 {
		web.Continued = web.Continued || status == 100
		return nil // the final response is still to come
	}
	x.Response.Add(b.Span.First)
	x.Response.Add(b.Span.Last)
	web.ResponseHeadersSize += b.Size
	if x.ResponseBegun && status == 0 {
		x.trailers(protocol.Server, fields)
		return x
	}
	x.ResponseBegun = true
	c.Status, x.NoStatus = status, status == 0
	web.ResponseHeaders = h.Memory().Headers(len(fields) + 3) // and the trailers
	x.fields(protocol.Server, fields)
	for i := range fields {
		if fields[i].Name == "content-type" {
			x.Events.Begin(web, fields[i].Value, x.Coding[protocol.Server])
		}
	}
	return x
}

// trailers keeps fields that came after the body with the headers.
func (x *stream) trailers(from protocol.Side, fields []field) { x.fields(from, fields) }

// fields keeps a header list. Of a request's it is the trailers.
func (x *stream) fields(from protocol.Side, fields []field) {
	web := x.Call.HTTP
	list := &web.RequestHeaders
	if from == protocol.Server {
		list = &web.ResponseHeaders
	}
	var contentType, encoding string
	for i := range fields {
		f := &fields[i]
		if f.Name != "" && f.Name[0] == ':' || len(*list) >= maxHeaders {
			continue
		}
		*list = append(*list, traffic.Header{Name: f.Name, Value: f.Value})
		if from == protocol.Client {
			continue
		}
		switch f.Name {
		case "content-encoding":
			x.Coding[from] = f.Value
		case "content-type":
			contentType = f.Value
		case "grpc-encoding":
			encoding = f.Value
		}
	}
	if from != protocol.Server {
		return
	}
	if grpc.Is(contentType) && x.Call.GRPC == nil && x.NoRequest {
		x.grpc(contentType, "")
	}
	if g := x.Call.GRPC; g != nil {
		if encoding != "" {
			g.Encoding = encoding
		}
		if grpc.IsText(contentType) {
			x.Messages[from].Text = true
		}
		x.readStatus(fields)
	}
}
