package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

// ListenRequest opens the API on a TCP address ("listen").
type ListenRequest struct {
	Address     string `json:"address,omitempty" jsonschema:"127.0.0.1:0 by default, a free port"`
	AllowRemote bool   `json:"allow_remote,omitempty" jsonschema:"listen where other machines can reach it, unencrypted"`
}

// Listening says where the API listens beside the socket.
type Listening struct {
	URL       string `json:"url"`
	TokenFile string `json:"token_file"`
}

// Listen opens the API on a TCP address.
func (c *Client) Listen(ctx context.Context, r ListenRequest) (*Listening, error) {
	return ask[Listening](ctx, c, "listen", r, nil)
}

// TokenPath is the file with the token of a workspace's daemon, for as long as that listens on TCP.
func TokenPath(workspace string) (string, error) {
	dir, err := RuntimeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, WorkspaceHash(workspace)+".token"), nil
}

// NewRemote makes a client of a daemon that listens on TCP: the URL is what devloop status shows there, the token what devloop
// daemon token prints. Nothing is dialled yet. Unless insecure says otherwise, a token is not sent unencrypted to another machine.
func NewRemote(address, token string, insecure bool) (*Client, error) {
	u, err := url.Parse(strings.TrimSuffix(address, "/"))
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, Usagef("devloop daemon listen prints a URL such as http://127.0.0.1:8898", fmt.Sprintf("%q is no URL of a daemon", address))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, Usagef("the token belongs into DEVLOOP_TOKEN or --token", "the URL holds more than an address")
	case u.Scheme == "http" && !insecure && !onLoopback(u.Hostname()):
		return nil, Usagef("use https, a tunnel to 127.0.0.1 (ssh -L), or --insecure", "the token would go to "+u.Host+" unencrypted")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 0 // an iteration takes minutes
	return &Client{
		base: strings.TrimSuffix(u.String(), "/mcp"), token: token, remote: true,
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

func onLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// unreachable says that nothing answers.
func (c *Client) unreachable(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return &Error{What: fmt.Sprintf("nothing answers at %s: %v", c.base, op.Err), Hint: "devloop daemon listen, where the daemon runs, prints its URL", Exit: ExitEnvironment}
	}
	return err
}

// refused says why an answer is none of the daemon's methods.
func (c *Client) refused(answer *http.Response, name string) error {
	const ask = "devloop daemon token, where the daemon runs, prints it; give it as DEVLOOP_TOKEN or --token"
	body, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10)) // what came is said
	switch code := answer.StatusCode; {
	case code == http.StatusUnauthorized && c.token == "":
		return &Error{What: c.base + " wants a token", Hint: ask, Exit: ExitUsage}
	case code == http.StatusUnauthorized:
		return &Error{What: c.base + " does not take this token: it is wrong, or of a daemon that has ended", Hint: ask, Exit: ExitUsage}
	case code >= 300 && code < 400:
		return &Error{What: fmt.Sprintf("%s sends us on (%s): to a login, perhaps", c.base, answer.Status),
			Hint: "give the URL of the daemon itself, not of a proxy that people log in to", Exit: ExitUsage}
	case code == http.StatusNotFound:
		return &Error{What: fmt.Sprintf("%s does not know %s: it is no devloop daemon, or one of another build", c.base, name),
			Hint: "devloop version, here and there", Exit: ExitUsage}
	}
	var said struct {
		Error
		Failed *Error `json:"failed"`
	}
	switch err := json.Unmarshal(body, &said); {
	case err == nil && said.Failed != nil:
		return said.Failed
	case err == nil && said.What != "":
		return &said.Error
	}
	return &Error{What: fmt.Sprintf("%s answers %s: %s", c.base, answer.Status, body[:min(len(body), 200)]), Exit: ExitEnvironment}
}
