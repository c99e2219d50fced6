package mcp

import (
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// sessionTimeout ends sessions of clients that went away without a word.
const sessionTimeout = 30 * time.Minute

// Handler serves MCP as streamable HTTP behind one URL: with sessions for clients of the revisions before 2026-07-28, and
// without for those that speak it or later. Who may ask is for what is in front of it to say; requests of other origins, and
// those to a name that is not this machine's, are refused here.
func Handler(o Options) (http.Handler, error) {
	f, err := newFace(o)
	if err != nil {
		return nil, err
	}
	return f.handler(), nil
}

// handler chooses by the revision that a request names.
func (f *face) handler() http.Handler {
	server := func(*http.Request) *mcp.Server { return f.server }
	sessions := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{SessionTimeout: sessionTimeout})
	stateless := mcp.NewStreamableHTTPHandler(server, &mcp.StreamableHTTPOptions{Stateless: true, PropagateRequestCancellation: true})
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Mcp-Protocol-Version") >= tasksSince {
			stateless.ServeHTTP(w, r)
			return
		}
		sessions.ServeHTTP(w, r)
	}))
}
