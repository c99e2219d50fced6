package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"

	"github.com/devloop-io/devloop/traffic"
)

// Client speaks to the daemon of one workspace.
type Client struct {
	http   *http.Client
	base   string // URL
	token  string // where it listens on TCP
	remote bool   // there
}

// NewClient makes a client of the daemon that listens on a unix socket. Nothing is dialled yet.
func NewClient(socket string) *Client {
	return &Client{base: "http://devloop", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Status asks what runs and where the loop stands.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Status](ctx, c, "status", struct{}{}, nil)
}

// Run asks for an iteration and returns when it is finished. onEvent, which may be nil, is called as it goes.
func (c *Client) Run(ctx context.Context, r RunRequest, onEvent func(Event)) (*traffic.Iteration, error) {
	return ask[traffic.Iteration](ctx, c, "run", r, onEvent)
}

// Follow says that one more, or one fewer, wants saves to start iterations by themselves.
func (c *Client) Follow(ctx context.Context, on bool) error {
	_, err := ask[struct{}](ctx, c, "follow", FollowRequest{on}, nil)
	return err
}

// Wait returns a finished iteration.
func (c *Client) Wait(ctx context.Context, r WaitRequest, onEvent func(Event)) (*traffic.Iteration, error) {
	return ask[traffic.Iteration](ctx, c, "wait", r, onEvent)
}

// WindowOpen opens a window for traffic that somebody else drives.
func (c *Client) WindowOpen(ctx context.Context, r WindowRequest) (*WindowOpened, error) {
	return ask[WindowOpened](ctx, c, "window_open", r, nil)
}

// WindowClose closes the open window and judges it.
func (c *Client) WindowClose(ctx context.Context, r IterationRequest, onEvent func(Event)) (*traffic.Iteration, error) {
	return ask[traffic.Iteration](ctx, c, "window_close", r, onEvent)
}

// Verdict returns a finished iteration with its checks.
func (c *Client) Verdict(ctx context.Context, r IterationRequest) (*traffic.Iteration, error) {
	return ask[traffic.Iteration](ctx, c, "verdict", r, nil)
}

// Judge judges the traffic of a finished iteration again, with the check files as they are now.
func (c *Client) Judge(ctx context.Context, r IterationRequest) (*traffic.Iteration, error) {
	return ask[traffic.Iteration](ctx, c, "judge", r, nil)
}

// Evidence returns the proof of one check's verdict.
func (c *Client) Evidence(ctx context.Context, r EvidenceRequest) (*EvidenceAnswer, error) {
	return ask[EvidenceAnswer](ctx, c, "evidence", r, nil)
}

// Query returns calls, connections or flows.
func (c *Client) Query(ctx context.Context, r QueryRequest) (*QueryAnswer, error) {
	return ask[QueryAnswer](ctx, c, "query", r, nil)
}

// Get returns one call or connection.
func (c *Client) Get(ctx context.Context, r GetRequest) (*GetAnswer, error) {
	return ask[GetAnswer](ctx, c, "get", r, nil)
}

// Trace returns the tree of calls that a call belongs to.
func (c *Client) Trace(ctx context.Context, r TraceRequest) (*TraceAnswer, error) {
	return ask[TraceAnswer](ctx, c, "trace", r, nil)
}

// Expression tries a check on traffic that is there already.
func (c *Client) Expression(ctx context.Context, r ExpressionRequest) (*traffic.CheckResult, error) {
	return ask[traffic.CheckResult](ctx, c, "expression", r, nil)
}

// Doctor says which capture source works here.
func (c *Client) Doctor(ctx context.Context) (*DoctorAnswer, error) {
	return ask[DoctorAnswer](ctx, c, "doctor", struct{}{}, nil)
}

// Down stops the services, removes what was made for them, verifies it, and ends the daemon.
func (c *Client) Down(ctx context.Context, r DownRequest) error {
	_, err := ask[struct{}](ctx, c, "down", r, nil)
	return err
}

// Events streams every event until ctx ends.
func (c *Client) Events(ctx context.Context, onEvent func(Event)) error {
	_, err := ask[struct{}](ctx, c, "events", struct{}{}, onEvent)
	return err
}

// ErrNoDaemon says that nothing listens on the workspace's socket.
var ErrNoDaemon = errors.New("no daemon runs for this workspace")

// ask posts one request and reads the events of its answer up to the result.
func ask[T any](ctx context.Context, c *Client, name string, request any, onEvent func(Event)) (*T, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode request %s: %w", name, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(r)
	if err != nil && c.remote {
		return nil, c.unreachable(err)
	}
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && (op.Op == "dial" || errors.Is(err, syscall.ECONNRESET)) {
			return nil, ErrNoDaemon // none, or one that is being killed at this moment
		}
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, c.refused(answer, name)
	}
	return readAnswer[T](answer.Body, name, onEvent)
}

func readAnswer[T any](body io.Reader, name string, onEvent func(Event)) (*T, error) {
	lines := json.NewDecoder(bufio.NewReader(body))
	for {
		var e Event
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("the daemon ended in the middle of %s: %w", name, err)
		}
		switch {
		case e.Error != nil:
			return nil, e.Error
		case e.Result != nil:
			result := new(T)
			if err := json.Unmarshal(e.Result, result); err != nil {
				return nil, fmt.Errorf("decode the answer of %s: %w", name, err)
			}
			return result, nil
		case onEvent != nil:
			onEvent(e)
		}
	}
}
