package graphql

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Limits of one call.
const (
	peek          = 1 << 10 // of a body, where the query is looked for
	maxOperations = 100     // of a batch
	maxErrors     = 100
	maxParameters = 64 // of a URL
)

// Read finds out whether an HTTP call is a GraphQL call, and describes it. Bodies are decoded already.
func Read(c *traffic.Call) {
	h := c.HTTP
	ops, yes := request(c, h)
	if !yes && (c.State != traffic.StateHalf || !strings.HasPrefix(header(h.ResponseHeaders, "content-type"), responseType)) {
		return
	}
	g := &traffic.GraphQL{}
	if len(ops) > 0 {
		g.GraphQLOperation, g.Batch = ops[0], ops[1:]
	}
	if len(g.Batch) == 0 {
		g.Batch = nil
	}
	if c.Status != 0 {
		g.Errors, g.ErrorsCut = answer(h.ResponseBody)
		g.ErrorsCut = g.ErrorsCut && h.ResponseBodyCut
	}
	c.GraphQL = g
}

const responseType = "application/graphql-response+json"

// request reads the operations of a request; false when it asks for none.
func request(c *traffic.Call, h *traffic.HTTP) ([]traffic.GraphQLOperation, bool) {
	if len(h.Query) < len("query=") && len(h.RequestBody) == 0 {
		return nil, false
	}
	switch c.Method {
	case "GET":
		if !strings.Contains(h.Query, "query=") && !strings.Contains(h.Query, "extensions=") && !strings.Contains(h.Query, "documentId=") {
			return nil, false
		}
		op, ok := fromURL(h.Query, isNamed(c))
		return []traffic.GraphQLOperation{op}, ok
	case "POST":
		if !mayAsk(h.RequestBody) && !isNamed(c) && isJSON(h.RequestBody) {
			return nil, false
		}
	default:
		return nil, false
	}
	named := isNamed(c)
	switch t := header(h.RequestHeaders, "content-type"); {
	case strings.HasPrefix(t, "application/graphql") && !strings.HasPrefix(t, "application/graphql+json"):
		op, ok := describe(string(h.RequestBody), "")
		return []traffic.GraphQLOperation{op}, ok
	case strings.HasPrefix(t, "application/json") || strings.HasPrefix(t, "application/graphql+json") || t == "":
		if named || mayAsk(h.RequestBody) {
			return fromJSON(h.RequestBody, named)
		}
	}
	return nil, false
}

// header is the value of the first header of a name, in lower case.
func header(list []traffic.Header, name string) string {
	for i := range list {
		if strings.EqualFold(list[i].Name, name) {
			return strings.ToLower(list[i].Value)
		}
	}
	return ""
}

// isNamed reports whether the path says that this is GraphQL's.
func isNamed(c *traffic.Call) bool { return strings.Contains(c.Path, "graphql") }

// isJSON reports whether a body begins as JSON usually does; a document may begin with a brace, too.
func isJSON(b []byte) bool {
	return bytes.HasPrefix(b, []byte(`{"`)) || bytes.HasPrefix(b, []byte(`[{`))
}

// mayAsk looks at the beginning of a body: whether it may have a member "query" or "persistedQuery".
func mayAsk(b []byte) bool {
	b = b[:min(len(b), peek)]
	return bytes.Contains(b, []byte(`query"`)) || bytes.Contains(b, []byte(`Query"`)) // Q is rare: two looks cost less than one for "uery"
}

// asked is an operation as clients write it.
type asked struct {
	query, name, variables, hash string
}

// operation describes it. Without a document it is one only by its hash, or where the path says that this is GraphQL's.
func (a *asked) operation(named bool) (op traffic.GraphQLOperation, ok bool) {
	if a.query != "" {
		if op, ok = describe(a.query, a.name); !ok && !named {
			return op, false
		}
	}
	if a.name != "" {
		op.Name = a.name
	}
	op.Variables, op.Hash = a.variables, a.hash
	return op, ok || a.hash != "" || named && a.query != ""
}

// persisted is what the extensions member holds of persisted queries.
type persisted struct {
	PersistedQuery struct {
		Hash string `json:"sha256Hash"`
	} `json:"persistedQuery"`
}

// fromURL reads the parameters of a GET request.
func fromURL(query string, named bool) (traffic.GraphQLOperation, bool) {
	var a asked
	n := 0
	for part := range strings.SplitSeq(query, "&") {
		if n++; n > maxParameters {
			break
		}
		name, value, _ := strings.Cut(part, "=")
		value, err := url.QueryUnescape(value)
		if err != nil {
			continue
		}
		switch name {
		case "query":
			a.query = value
		case "operationName":
			a.name = value
		case "variables":
			a.variables = value
		case "documentId":
			if named {
				a.hash = value
			}
		case "extensions":
			var p persisted
			if json.Unmarshal([]byte(value), &p) == nil {
				a.hash = p.PersistedQuery.Hash
			}
		}
	}
	return a.operation(named)
}

// fromJSON reads an object, or an array of them. What was cut counts as far as it goes.
func fromJSON(b []byte, named bool) (ops []traffic.GraphQLOperation, ok bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	first, err := d.Token()
	if err != nil {
		return nil, false
	}
	switch first {
	case json.Delim('['):
	case json.Delim('{'):
		op, ok := readAsked(d, named)
		return []traffic.GraphQLOperation{op}, ok
	default:
		return nil, false
	}
	for d.More() && len(ops) < maxOperations {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			break
		}
		op, yes := readAsked(d, named)
		if !yes {
			break
		}
		ops = append(ops, op)
	}
	return ops, len(ops) > 0
}

// readAsked reads the members of an object whose brace was read.
func readAsked(d *json.Decoder, named bool) (traffic.GraphQLOperation, bool) {
	var a asked
	_ = members(d, func(key string) error {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		switch key {
		case "query":
			_ = json.Unmarshal(raw, &a.query)
		case "operationName":
			_ = json.Unmarshal(raw, &a.name)
		case "variables":
			if string(raw) != "null" {
				a.variables = string(raw)
			}
		case "documentId", "id":
			if named && a.hash == "" {
				_ = json.Unmarshal(raw, &a.hash)
			}
		case "extensions":
			var p persisted
			if json.Unmarshal(raw, &p) == nil && p.PersistedQuery.Hash != "" {
				a.hash = p.PersistedQuery.Hash
			}
		}
		return nil
	})
	return a.operation(named)
}

// members calls read for each key of an object whose brace was read; read takes the value.
func members(d *json.Decoder, read func(key string) error) error {
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return errNoObject
		}
		if err := read(key); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// answer reads the errors of a response, or of an array of them; cut when it was not read to its end.
func answer(b []byte) (errors []traffic.GraphQLError, cut bool) {
	d := json.NewDecoder(bytes.NewReader(b))
	t, err := d.Token()
	if err != nil {
		return nil, true
	}
	if t == json.Delim('{') {
		err = readErrors(d, &errors)
		return errors, err != nil
	}
	if t != json.Delim('[') {
		return nil, true
	}
	for d.More() {
		if t, err := d.Token(); err != nil || t != json.Delim('{') {
			return errors, true
		}
		if readErrors(d, &errors) != nil {
			return errors, true
		}
	}
	_, err = d.Token()
	return errors, err != nil
}

// readErrors reads the members of a response.
func readErrors(d *json.Decoder, into *[]traffic.GraphQLError) error {
	return members(d, func(key string) error {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if err == nil && key == "errors" {
			*into = appendErrors(*into, raw)
		}
		return err
	})
}

// appendErrors reads a list of errors (GraphQL specification, section 7.1.2), or one alone.
func appendErrors(into []traffic.GraphQLError, raw []byte) []traffic.GraphQLError {
	type wire struct {
		Message    string          `json:"message"`
		Path       json.RawMessage `json:"path"`
		Extensions struct {
			Code any `json:"code"`
		} `json:"extensions"`
	}
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		list = []json.RawMessage{raw}
	}
	for _, one := range list {
		var w wire
		if json.Unmarshal(one, &w) != nil && w.Message == "" || len(into) >= maxErrors {
			continue
		}
		e := traffic.GraphQLError{Message: w.Message, Path: pathOf(w.Path)}
		switch code := w.Extensions.Code.(type) {
		case string:
			e.Code = code
		case float64:
			e.Code = strconv.FormatFloat(code, 'f', -1, 64)
		}
		into = append(into, e)
	}
	return into
}

// pathOf joins the names and places of a path with dots.
func pathOf(raw json.RawMessage) string {
	var path []any
	if json.Unmarshal(raw, &path) != nil {
		return ""
	}
	var parts []string
	for _, p := range path {
		switch p := p.(type) {
		case string:
			parts = append(parts, p)
		case float64:
			parts = append(parts, strconv.FormatFloat(p, 'f', -1, 64))
		}
	}
	return strings.Join(parts, ".")
}
