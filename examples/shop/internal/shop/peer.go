package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Peer is another service. It is called over one pool of kept-alive connections, shared by all requests.
type Peer struct {
	Client *http.Client
	// Outside marks somebody else's service: it gets no token.
	Outside bool

	caller, name, url string
}

// Peer makes the client of one of our services: VARIABLE_URL says where it is, http://name:8080 by default.
func (s *Service) Peer(name, variable string) *Peer {
	return &Peer{
		Client: &http.Client{Transport: s.Transport(variable), Timeout: s.Scale(5 * time.Second)},
		caller: s.Name,
		name:   name,
		url:    s.Env(variable+"_URL", "http://"+name+":8080"),
	}
}

// Outside makes the client of a service that is not ours, at a fixed address.
func (s *Service) Outside(address, variable string) *Peer {
	p := s.Peer(address, variable)
	p.url, p.Outside = address, true
	return p
}

// Transport makes the connection pool of a peer. VARIABLE_ADDR is where to connect when it is an IP address and port:
// it stands in for DNS where names do not resolve, and the peer is still called by its name.
func (s *Service) Transport(variable string) *http.Transport {
	dialer := &net.Dialer{Timeout: 2 * time.Second, Resolver: s.Resolver}
	fixed := s.Env(variable+"_ADDR", "")
	if host, _, err := net.SplitHostPort(fixed); err != nil || net.ParseIP(host) == nil {
		fixed = ""
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if fixed != "" {
				address = fixed
			}
			return dialer.DialContext(ctx, "tcp4", address)
		},
		TLSClientConfig:     ClientTLS(),
		MaxIdleConnsPerHost: 32, // the default of 2 would close and reopen under load
		IdleConnTimeout:     10 * time.Minute,
		DisableCompression:  true,
	}
}

// Reply is a peer's whole response.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Request makes a request to the peer that carries on what came with the one being served.
func (p *Peer) Request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request to %s: %w", p.name, err)
		}
		content = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, content)
	if err != nil {
		return nil, fmt.Errorf("make the request to %s: %w", p.name, err)
	}
	in := From(ctx)
	r.Header.Set("User-Agent", "shop-"+p.caller)
	r.Header.Set("X-Request-Id", in.RequestID)
	r.Header.Set("traceparent", "00-"+in.TraceID+"-"+in.SpanID+"-01")
	set(r.Header, "tracestate", in.TraceState)
	set(r.Header, "baggage", in.Baggage)
	set(r.Header, "devloop-iteration", in.Iteration)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if !p.Outside {
		set(r.Header, "Authorization", in.Authorization)
	}
	return r, nil
}

func set(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}

// Send sends a request and reads the response to its end, so that the connection can serve the next one.
func (p *Peer) Send(r *http.Request) (*Reply, error) {
	resp, err := p.Client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", p.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the response of %s: %w", p.name, err)
	}
	return &Reply{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Call sends a request and decodes the JSON answer; another status than 2xx is a [Failure] with the same status.
func (p *Peer) Call(ctx context.Context, method, path string, body, into any) error {
	r, err := p.Request(ctx, method, path, body)
	if err != nil {
		return err
	}
	reply, err := p.Send(r)
	if err != nil {
		return err
	}
	return reply.Decode(p.name, into)
}

// Decode reads the JSON of a 2xx answer; another status is a [Failure] with the same status.
func (r *Reply) Decode(from string, into any) error {
	if r.Status/100 != 2 {
		return Fail(r.Status, "%s answered %d: %s", from, r.Status, bytes.TrimSpace(r.Body))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(r.Body, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", from, err)
	}
	return nil
}
