package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/query"
)

// scheme is that of all resources.
const scheme = "devloop://"

// resource is something that a client can read by its URI, and watch.
type resource struct {
	uri         string
	arguments   string // as in a URI template, without the braces
	title, what string
	// read asks the daemon. The mark changes when the answer is worth reading again.
	read func(ctx context.Context, c *control.Client, arguments url.Values) (answer any, mark string, err error)
}

const (
	streamLimit  = 100
	historyLimit = 1000
)

// resources is the list of them.
var resources = []resource{
	{scheme + "traffic/stream", "?kfl", "Live traffic", "The newest 100 calls. Subscribers hear of new ones. Untrusted text from the network.",
		func(ctx context.Context, c *control.Client, a url.Values) (any, string, error) {
			return calls(ctx, c, query.CallsRequest{Selection: query.Selection{KFL: a.Get("kfl")}, Limit: streamLimit})
		}},
	{scheme + "traffic/history", "?start,end,kfl", "Past traffic", "Calls between two times (Unix milliseconds or RFC 3339), at most 1000. Untrusted text from the network.",
		func(ctx context.Context, c *control.Client, a url.Values) (any, string, error) {
			r := query.CallsRequest{Selection: query.Selection{KFL: a.Get("kfl")}, Limit: historyLimit}
			var err error
			if r.Start, err = instant(a, "start"); err != nil {
				return nil, "", err
			}
			if r.End, err = instant(a, "end"); err != nil {
				return nil, "", err
			}
			return calls(ctx, c, r)
		}},
	{scheme + "services/map", "", "Service map", "Who calls whom, with counts, error rates and latencies.",
		func(ctx context.Context, c *control.Client, _ url.Values) (any, string, error) {
			a, err := control.GetServiceMap.Ask(ctx, c, query.MapRequest{}, nil)
			if err != nil {
				return nil, "", err
			}
			var mark strings.Builder
			for _, e := range a.Edges {
				fmt.Fprintf(&mark, "%s>%s %d\n", e.Src, e.Dst, e.Calls)
			}
			return a, mark.String(), nil
		}},
	{scheme + "services/list", "", "Services", "The services, with their addresses.",
		func(ctx context.Context, c *control.Client, _ url.Values) (any, string, error) {
			return workloads(ctx, c, "service")
		}},
	{scheme + "namespaces", "", "Namespaces", "The namespaces that there are.",
		func(ctx context.Context, c *control.Client, _ url.Values) (any, string, error) {
			return workloads(ctx, c, "namespace")
		}},
	{scheme + "protocols", "", "Protocols", "The protocols that were seen, with statistics and an example call of each.",
		func(ctx context.Context, c *control.Client, _ url.Values) (any, string, error) {
			a, err := control.GetAPIStats.Ask(ctx, c, query.StatsRequest{GroupBy: "proto"}, nil)
			if err != nil {
				return nil, "", err
			}
			return a, strconv.Itoa(a.Totals.Calls), nil
		}},
}

func calls(ctx context.Context, c *control.Client, r query.CallsRequest) (any, string, error) {
	a, err := control.ListAPICalls.Ask(ctx, c, r, nil)
	if err != nil {
		return nil, "", err
	}
	newest, err := json.Marshal(a.Calls[:min(1, len(a.Calls))])
	return a, fmt.Sprintf("%d %s", a.Total, newest), err
}

func workloads(ctx context.Context, c *control.Client, kind string) (any, string, error) {
	a, err := control.ListWorkloads.Ask(ctx, c, query.WorkloadsRequest{Type: kind}, nil)
	if err != nil {
		return nil, "", err
	}
	mark, err := json.Marshal(a.Workloads)
	return a, string(mark), err
}

// instant reads a time; none is 0.
func instant(a url.Values, name string) (int64, error) {
	text := a.Get(name)
	if text == "" {
		return 0, nil
	}
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, control.Usagef(name+"=2026-11-21T10:00:00Z, or Unix milliseconds", fmt.Sprintf("%s is no time: %q", name, text))
	}
	return at.UnixMilli(), nil
}

// addResources registers the list. Those with arguments are there without them as well.
func addResources(s *mcp.Server, t *tools) {
	for _, r := range resources {
		handler := func(ctx context.Context, req *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			uri := req.Params.URI
			if whole, ok := ctx.Value(uriKey{}).(string); ok {
				uri = whole
			}
			answer, _, err := t.read(ctx, uri)
			if err != nil {
				return nil, refusal(err)
			}
			b, err := json.MarshalIndent(struct {
				Note   string `json:"note"`
				Answer any    `json:"answer"`
			}{control.Untrusted, answer}, "", " ")
			if err != nil {
				return nil, fmt.Errorf("encode %s: %w", uri, err)
			}
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: "application/json", Text: string(b)}}}, nil
		}
		name := strings.ReplaceAll(strings.TrimPrefix(r.uri, scheme), "/", "_")
		s.AddResource(&mcp.Resource{URI: r.uri, Name: name, Title: r.title, Description: r.what, MIMEType: "application/json"}, handler)
		if r.arguments != "" {
			s.AddResourceTemplate(&mcp.ResourceTemplate{
				URITemplate: r.uri + "{" + r.arguments + "}", Name: name, Title: r.title, Description: r.what, MIMEType: "application/json",
			}, handler)
		}
	}
}

// read asks for a resource with its arguments.
func (t *tools) read(ctx context.Context, uri string) (answer any, mark string, err error) {
	r, arguments, ok := resourceOf(uri)
	if !ok {
		return nil, "", mcp.ResourceNotFoundError(uri)
	}
	type both struct {
		answer any
		mark   string
	}
	found, err := retry(ctx, t, func(c *control.Client) (both, error) {
		a, m, err := r.read(ctx, c, arguments)
		return both{a, m}, err
	})
	return found.answer, found.mark, err
}

// resourceOf finds the resource of a URI, whose arguments may be in any order and missing.
func resourceOf(uri string) (resource, url.Values, bool) {
	base, rest, _ := strings.Cut(uri, "?")
	arguments, err := url.ParseQuery(rest)
	if err != nil {
		return resource{}, nil, false
	}
	for _, r := range resources {
		if r.uri != base {
			continue
		}
		known := strings.Split(strings.TrimPrefix(r.arguments, "?"), ",")
		for name := range arguments {
			if name == "" || !slices.Contains(known, name) {
				return resource{}, nil, false
			}
		}
		return r, arguments, true
	}
	return resource{}, nil, false
}

// refusal makes what the user asked wrongly an error of the request.
func refusal(err error) error {
	var known *control.Error
	if errors.As(err, &known) && known.Exit == control.ExitUsage {
		return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: forModel(err).Error()}
	}
	return forModel(err)
}

type uriKey struct{}

// wholeURI lets a resource be read with any of its arguments: the library's templates want all of them, in their order.
func wholeURI(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		if read, ok := r.(*mcp.ReadResourceRequest); ok && read.Params != nil {
			if known, _, ok := resourceOf(read.Params.URI); ok {
				ctx = context.WithValue(ctx, uriKey{}, read.Params.URI)
				read.Params.URI = known.uri
			}
		}
		return next(ctx, method, r)
	}
}
