package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Client asks one agent. It is made by [NewClient].
type Client struct {
	http  *http.Client
	base  string
	token string
}

// ClientOptions are how an agent is reached.
type ClientOptions struct {
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // such as a port-forward; nil dials Address
	Address     string                                                            // host:port; 127.0.0.1:8899
	Token       string
}

// DefaultPort is where an agent listens.
const DefaultPort = 8899

// NewClient makes a client; nothing is asked yet.
func NewClient(o ClientOptions) *Client {
	if o.Address == "" {
		o.Address = fmt.Sprintf("127.0.0.1:%d", DefaultPort)
	}
	t := &http.Transport{DialContext: o.DialContext, MaxIdleConns: 4, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression: true}
	return &Client{http: &http.Client{Transport: t}, base: "http://" + o.Address, token: o.Token}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// maxAnswer bounds an answer that is held in memory.
const maxAnswer = 16 << 20

// do asks and decodes the answer.
func (c *Client) do(ctx context.Context, method, path string, body, answer any) error {
	res, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("read the agent's answer to %s %s: %w", method, path, err)
	}
	return nil
}

// open asks; an answer that is an error is one.
func (c *Client) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	return c.answer(req)
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("ask the agent: %w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	return req, nil
}

func (c *Client) answer(req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close()
	var p Problem
	if json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&p) != nil || p.Message == "" {
		p.Message = res.Status
	}
	return nil, fmt.Errorf("ask the agent for %s %s: %w", req.Method, req.URL.RequestURI(), &p)
}

// Health asks how the agent is.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	return h, c.do(ctx, http.MethodGet, "/health", nil, &h)
}

// Version asks which agent it is.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	return v, c.do(ctx, http.MethodGet, "/version", nil, &v)
}

// Stats asks what was received and lost.
func (c *Client) Stats(ctx context.Context) (s Stats, err error) {
	return s, c.do(ctx, http.MethodGet, "/stats", nil, &s)
}

// Boundaries asks what the ring holds.
func (c *Client) Boundaries(ctx context.Context) (b Boundaries, err error) {
	return b, c.do(ctx, http.MethodGet, "/boundaries", nil, &b)
}

// Segments asks for the segments with numbers above after.
func (c *Client) Segments(ctx context.Context, after uint64) (s Segments, err error) {
	return s, c.do(ctx, http.MethodGet, fmt.Sprint("/segments?after=", after), nil, &s)
}

// Snapshot asks which segments hold the packets of a span of time, after everything captured so far was written and the
// growing segment was ended. Zero times are open ends.
func (c *Client) Snapshot(ctx context.Context, from, to time.Time) (s Segments, err error) {
	q := url.Values{}
	if !from.IsZero() {
		q.Set("from", fmt.Sprint(from.UnixNano()))
	}
	if !to.IsZero() {
		q.Set("to", fmt.Sprint(to.UnixNano()))
	}
	return s, c.do(ctx, http.MethodPost, "/snapshot?"+q.Encode(), nil, &s)
}

// Targets asks what is captured.
func (c *Client) Targets(ctx context.Context) (t Targets, err error) {
	return t, c.do(ctx, http.MethodGet, "/targets", nil, &t)
}

// SetTargets changes what is captured, from now on.
func (c *Client) SetTargets(ctx context.Context, r Rules) (t Targets, err error) {
	if err := r.Validate(); err != nil {
		return t, err
	}
	return t, c.do(ctx, http.MethodPut, "/targets", r, &t)
}

// Flush writes everything that the kernel captured so far into the ring.
func (c *Client) Flush(ctx context.Context) (f Flushed, err error) {
	return f, c.do(ctx, http.MethodPost, "/flush", nil, &f)
}

// Rotate is Flush, and ends the growing segment.
func (c *Client) Rotate(ctx context.Context) (f Flushed, err error) {
	return f, c.do(ctx, http.MethodPost, "/rotate", nil, &f)
}

// Segment opens one segment's pcapng.
func (c *Client) Segment(ctx context.Context, seq uint64) (io.ReadCloser, error) {
	res, err := c.open(ctx, http.MethodGet, fmt.Sprint("/segments/", seq), nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// Stream opens the ring from a position on, and goes on with what comes.
func (c *Client) Stream(ctx context.Context, after Position) (io.ReadCloser, error) {
	res, err := c.open(ctx, http.MethodGet, "/stream?after="+url.QueryEscape(after.String()), nil)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// refused says whether asking again would not help.
func refused(err error) bool {
	var p *Problem
	return errors.As(err, &p)
}
