package contract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/devloop-io/devloop/traffic"
)

// openAPI makes a check of an OpenAPI document: the endpoint, its parameters and credentials, the request's and the response's
// content, and the status. Hosts are not compared: where a service is served is the environment's business.
func openAPI(ctx context.Context, files Files, name string, data []byte) (func(*traffic.Call) (Conformance, []string), error) {
	loader := openapi3.NewLoader()
	loader.Context = ctx
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, u *url.URL) ([]byte, error) {
		if u.Scheme != "" || u.Host != "" {
			return nil, fmt.Errorf("%s is not a file below the folder, and is not read", u)
		}
		return files(path.Clean(u.Path))
	}
	doc, err := loader.LoadFromDataWithPath(data, &url.URL{Path: name})
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(ctx, openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("it is no valid OpenAPI document: %w", firstLine(err))
	}
	withoutHosts(doc)
	router, err := legacy.NewRouter(doc)
	if err != nil {
		return nil, firstLine(err)
	}
	o := &openapi3filter.Options{MultiError: true, IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: carries}
	return func(c *traffic.Call) (Conformance, []string) {
		if c.HTTP == nil || c.GRPC != nil || !c.Asked() {
			return Other, nil
		}
		return conformsTo(ctx, router, o, c)
	}, nil
}

// withoutHosts leaves the servers' paths alone.
func withoutHosts(doc *openapi3.T) {
	strip := func(list openapi3.Servers) openapi3.Servers {
		var paths openapi3.Servers
		for _, s := range list {
			base := s.URL
			for name, v := range s.Variables {
				if v != nil {
					base = strings.ReplaceAll(base, "{"+name+"}", v.Default)
				}
			}
			if u, err := url.Parse(base); err == nil {
				base = strings.TrimSuffix(u.Path, "/")
			}
			if !slices.ContainsFunc(paths, func(p *openapi3.Server) bool { return p.URL == base }) {
				paths = append(paths, &openapi3.Server{URL: base})
			}
		}
		return paths
	}
	doc.Servers = strip(doc.Servers)
	for _, item := range doc.Paths.Map() {
		item.Servers = strip(item.Servers)
		for _, op := range item.Operations() {
			if op.Servers != nil {
				servers := strip(*op.Servers)
				op.Servers = &servers
			}
		}
	}
}

func conformsTo(ctx context.Context, router routers.Router, o *openapi3filter.Options, c *traffic.Call) (Conformance, []string) {
	name := c.Method + " " + c.Path
	req := requestOf(c)
	route, params, err := router.FindRoute(req)
	if err != nil {
		return Breaks, []string{name + ": not in the document"}
	}
	name = c.Method + " " + route.Path
	var broken, open []string
	say := func(what string, body []byte, err error) {
		for _, e := range flat(err) {
			text, unsure := reason(e)
			text = name + what + ": " + text
			switch {
			case unsure:
				open = append(open, text)
			case redacted(body) && isSchema(e):
				open = append(open, text+mayBeRedacted)
			default:
				broken = append(broken, text)
			}
		}
	}
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: o}
	asked := *o
	if c.HTTP.RequestBodyCut || c.HTTP.BodyError != "" {
		asked.ExcludeRequestBody = true
		open = append(open, name+": the request's body was not seen whole")
	}
	in.Options = &asked
	if !c.HTTP.RequestHeadersCut && c.HTTP.UnknownHeaders == 0 {
		say("", c.HTTP.RequestBody, openapi3filter.ValidateRequest(ctx, in))
	} else {
		open = append(open, name+": the request's headers were not seen whole")
	}
	if !c.Answered() || c.HTTP.ResponseHeadersCut {
		return judged(broken, append(open, name+": the response was not seen whole"))
	}
	answered := *o
	if c.State == traffic.StateTruncated || c.HTTP.ResponseBodyCut || c.HTTP.BodyError != "" {
		answered.ExcludeResponseBody = true
		open = append(open, name+": the response's body was not seen whole")
	}
	if c.Method == http.MethodHead || c.HTTP.EventStream {
		answered.ExcludeResponseBody = true
	}
	say(fmt.Sprint(" ", c.Status), c.HTTP.ResponseBody, openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: c.Status, Header: headers(c.HTTP.ResponseHeaders), Options: &answered,
		Body: io.NopCloser(bytes.NewReader(c.HTTP.ResponseBody)),
	}))
	return judged(broken, open)
}

// requestOf is the call's request as net/http has it. Bodies are decoded already.
func requestOf(c *traffic.Call) *http.Request {
	u := &url.URL{RawQuery: c.HTTP.Query} // no host: see withoutHosts
	if p, err := url.PathUnescape(c.Path); err == nil {
		u.Path, u.RawPath = p, c.Path
	} else {
		u.Path = c.Path
	}
	return &http.Request{
		Method: c.Method, URL: u, Host: c.HTTP.Host, Header: headers(c.HTTP.RequestHeaders),
		Body: io.NopCloser(bytes.NewReader(c.HTTP.RequestBody)), ContentLength: int64(len(c.HTTP.RequestBody)),
	}
}

func headers(list []traffic.Header) http.Header {
	h := http.Header{}
	for _, x := range list {
		if !strings.EqualFold(x.Name, "Content-Encoding") {
			h.Add(x.Name, x.Value)
		}
	}
	return h
}

// carries says whether a request has what a security scheme asks for. Whether it is right only the server can know.
func carries(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	r, s := in.RequestValidationInput.Request, in.SecurityScheme
	missing := func(what string) error {
		return fmt.Errorf("%s is missing, which %s asks for", what, in.SecuritySchemeName)
	}
	switch s.Type {
	case "http", "oauth2", "openIdConnect":
		if r.Header.Get("Authorization") == "" {
			return missing("Authorization")
		}
	case "apiKey":
		switch s.In {
		case openapi3.ParameterInHeader:
			if r.Header.Get(s.Name) == "" {
				return missing("header " + s.Name)
			}
		case openapi3.ParameterInQuery:
			if !r.URL.Query().Has(s.Name) {
				return missing("query parameter " + s.Name)
			}
		case openapi3.ParameterInCookie:
			// A redacted Cookie header may have lost its names.
			if _, err := r.Cookie(s.Name); err != nil && !redacted([]byte(r.Header.Get("Cookie"))) {
				return missing("cookie " + s.Name)
			}
		}
	}
	return nil
}

// flat is the errors that an error consists of.
func flat(err error) []error {
	var many openapi3.MultiError
	var request *openapi3filter.RequestError
	var response *openapi3filter.ResponseError
	var schema *openapi3.SchemaError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &schema) && !errors.As(err, &many):
		return []error{err}
	case errors.As(err, &request) && errors.As(request.Err, &many), errors.As(err, &response) && errors.As(response.Err, &many):
		var all []error
		for _, e := range many {
			for _, inner := range flat(e) {
				if request != nil {
					copied := *request
					copied.Err = inner
					inner = &copied
				} else {
					copied := *response
					copied.Err = inner
					inner = &copied
				}
				all = append(all, inner)
			}
		}
		return all
	case errors.As(err, &many):
		var all []error
		for _, e := range many {
			all = append(all, flat(e)...)
		}
		return all
	}
	return []error{err}
}

func isSchema(err error) bool {
	var schema *openapi3.SchemaError
	return errors.As(err, &schema)
}

// reason is one line without captured values. unsure says that the library could not look, which shows nothing.
func reason(err error) (text string, unsure bool) {
	var (
		request  *openapi3filter.RequestError
		response *openapi3filter.ResponseError
		schema   *openapi3.SchemaError
		parse    *openapi3filter.ParseError
		security *openapi3filter.SecurityRequirementsError
	)
	where := ""
	switch {
	case errors.As(err, &request) && request.Parameter != nil:
		where = request.Parameter.In + " parameter " + request.Parameter.Name
	case errors.As(err, &request) && request.RequestBody != nil:
		where = "request body"
	case errors.As(err, &response):
		where = "response body"
	}
	at := func(what string) string {
		if where == "" {
			return what
		}
		return where + ": " + what
	}
	switch {
	case errors.As(err, &schema):
		if p := schema.JSONPointer(); len(p) > 0 {
			where += " at /" + strings.Join(p, "/")
		}
		return at(schemaPlace.ReplaceAllString(schema.Reason, "")), false
	case errors.As(err, &security):
		var all []string
		for _, e := range security.Errors {
			all = append(all, e.Error())
		}
		return strings.Join(all, "; "), false
	case errors.As(err, &parse) && parse.Kind == openapi3filter.KindUnsupportedFormat:
		return at("its content type cannot be read here"), true
	case errors.As(err, &parse):
		return at("it cannot be read as its content type says"), false
	case response != nil:
		where = ""
		return response.Reason, false
	case request != nil && request.Reason != "":
		return at(request.Reason), false
	case request != nil && request.Err != nil:
		return at(request.Err.Error()), false
	}
	return firstLine(err).Error(), false
}

// schemaPlace is the place that some reasons begin with, which is said already.
var schemaPlace = regexp.MustCompile(`^(?:error at "[^"]*": )?(?:at '[^']*': )?`)

// firstLine keeps errors that go on with schemas and values short.
func firstLine(err error) error {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(line)
}
