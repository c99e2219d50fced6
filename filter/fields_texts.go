package filter

import (
	"iter"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/devloop-io/devloop/traffic"
)

// textsName is the field that mentions() looks into.
const textsName = "texts"

// textsSection is what a call says, whatever its protocol.
func textsSection() section {
	f := texts(Field{Name: textsName, Request: true, Response: true, head: responseHead, partial: true,
		Doc: "all that the call says: path, query, header values, bodies, gRPC and WebSocket messages, SQL with its arguments, Redis keys, " +
			"arguments and replies, GraphQL documents and variables, DNS names and answers; redacted, as far as it was kept",
		Example: `texts.exists(t, t.matches("order-[0-9]+"))`}, nil)
	f.Get = func(r *Row) (ref.Val, bool) {
		if r.Call == nil {
			return emptyList, false
		}
		var all []string
		for s := range textsOf(r.Call) {
			all = append(all, s)
		}
		if len(all) == 0 {
			return emptyList, saidAll(r.Call)
		}
		return types.DefaultTypeAdapter.NativeToValue(all), saidAll(r.Call)
	}
	return section{name: "All that a call says", rows: Calls, fields: []Field{f}}
}

// saidAll reports whether the capture has all that the call said: where it has not, an expectation does not know what is missing.
func saidAll(c *traffic.Call) bool {
	h := c.HTTP
	switch {
	case c.State != traffic.StateComplete:
		return false
	case h != nil && (h.RequestBodyCut || h.ResponseBodyCut || h.RequestHeadersCut || h.ResponseHeadersCut || h.BodyError != ""):
		return false
	case c.Redis != nil && (c.Redis.ArgsCut || c.Redis.ReplyCut), c.WebSocket != nil && (c.WebSocket.PayloadCut || c.WebSocket.Error != ""):
		return false
	case c.PostgreSQL != nil && (c.PostgreSQL.QueryCut || c.PostgreSQL.Unknown):
		return false
	}
	return true
}

// textsOf are the texts of a call that are not empty, the short ones first.
func textsOf(c *traffic.Call) iter.Seq[string] {
	return func(yield func(string) bool) {
		y := &texting{yield: yield}
		y.say(c.Path)
		if p := c.PostgreSQL; p != nil {
			y.say(p.Query, p.Message, p.Statement)
			y.say(p.Arguments...)
		}
		if d := c.Redis; d != nil {
			y.say(d.Key, d.Error, d.Reply)
			y.say(d.Args...)
		}
		if d := c.DNS; d != nil {
			for _, list := range [][]traffic.DNSRecord{d.Questions, d.Answers} {
				for i := range list {
					y.say(list[i].Name, list[i].Data)
				}
			}
		}
		if w := c.WebSocket; w != nil {
			y.bytes(w.Payload)
		}
		if g := c.GraphQL; g != nil {
			y.operation(&g.GraphQLOperation)
			for i := range g.Batch {
				y.operation(&g.Batch[i])
			}
			for i := range g.Errors {
				y.say(g.Errors[i].Message)
			}
		}
		if g := c.GRPC; g != nil {
			y.say(g.Message, g.RequestJSON, g.ResponseJSON)
		}
		if h := c.HTTP; h != nil {
			y.http(h)
		}
	}
}

// texting hands texts on until nobody wants more.
type texting struct {
	yield func(string) bool
	done  bool
}

func (y *texting) say(list ...string) {
	for _, s := range list {
		if s != "" && !y.done {
			y.done = !y.yield(s)
		}
	}
}

func (y *texting) bytes(b []byte) {
	if len(b) > 0 && !y.done {
		y.done = !y.yield(string(b))
	}
}

func (y *texting) operation(g *traffic.GraphQLOperation) { y.say(g.Name, g.Query, g.Variables, g.Hash) }

// http says a query also decoded, so that both spellings of a value are found.
func (y *texting) http(h *traffic.HTTP) {
	y.say(h.Query)
	if strings.ContainsAny(h.Query, "%+") {
		y.say(unescape(h.Query))
	}
	for _, lines := range [][]traffic.Header{h.RequestHeaders, h.ResponseHeaders} {
		for i := range lines {
			y.say(lines[i].Value)
		}
	}
	y.bytes(h.RequestBody)
	y.bytes(h.ResponseBody)
}

// mentioned reports whether a call says a text.
func mentioned(r *Row, text string) bool {
	if r.Call == nil {
		return false
	}
	for s := range textsOf(r.Call) {
		if strings.Contains(s, text) {
			return true
		}
	}
	return false
}

// mentions declares mentions(text), to which [Prepare] adds what to look into.
func mentions() cel.EnvOption {
	return cel.Function("mentions", cel.Overload("mentions_list_string", []*cel.Type{stringList, cel.StringType}, cel.BoolType,
		cel.BinaryBinding(func(list, text ref.Val) ref.Val {
			all, ok := list.(traits.Lister)
			want, isText := text.(types.String)
			if !ok || !isText {
				return types.MaybeNoSuchOverloadErr(text)
			}
			for it := all.Iterator(); it.HasNext() == types.True; {
				if s, ok := it.Next().(types.String); ok && strings.Contains(string(s), string(want)) {
					return types.True
				}
			}
			return types.False
		})))
}
