package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/devloop-io/devloop/internal/control"
)

// api is everything that is served on TCP: the methods as the socket has them, MCP, and REST.
func (s *server) api() (http.Handler, error) {
	rest := http.NewServeMux()
	for _, m := range s.methods() {
		rest.HandleFunc("POST /v1/"+m.name, func(w http.ResponseWriter, r *http.Request) { s.serve(m, w, r) })
	}
	if err := s.serveMCP(rest); err != nil {
		return nil, err
	}
	methods := byName(s.methods())
	routes := served(methods)
	for _, t := range routes {
		m := methods[t.method]
		rest.HandleFunc(t.verb+" "+t.path, func(w http.ResponseWriter, r *http.Request) { s.answerREST(w, r, t, m) })
	}
	document := sync.OnceValues(func() ([]byte, error) { return describe(s.methods()) })
	rest.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		b, err := document()
		if err != nil {
			refuse(w, http.StatusInternalServerError, known(err))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // a client that went away
	})
	rest.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { unknownRoute(w, r, rest, routes) })
	return withoutAPI(rest), nil
}

func byName(list []method) map[string]method {
	m := make(map[string]method, len(list))
	for _, each := range list {
		m[each.name] = each
	}
	return m
}

// served are the routes whose method there is.
func served(methods map[string]method) []route {
	return slices.DeleteFunc(routes(), func(t route) bool { return methods[t.method].do == nil })
}

// withoutAPI accepts /api in front of every path, where Kubeshark's front has its hub.
func withoutAPI(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			http.StripPrefix("/api", next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answerREST answers one route.
func (s *server) answerREST(w http.ResponseWriter, r *http.Request, t route, m method) {
	s.busy.Add(1)
	defer func() { s.touch(); s.busy.Add(-1) }()
	request, err := readRequest(w, r, t, m)
	if err != nil {
		t.refuse(w, err)
		return
	}
	result, err := m.do(r.Context(), request, func(control.Event) {})
	if err != nil {
		t.refuse(w, err)
		return
	}
	if t.file != nil {
		serveFile(w, r, t.file(result), t.keep)
		return
	}
	writeJSON(w, http.StatusOK, result)
}

// fileTypes are the media types of what is exported; nothing that a browser would run.
var fileTypes = map[string]string{
	".pcap": "application/vnd.tcpdump.pcap", ".pcapng": "application/x-pcapng", ".har": "application/json", ".csv": "text/csv; charset=utf-8",
	".md": "text/markdown; charset=utf-8", ".yaml": "application/yaml",
}

// serveFile sends a file that was made for this answer, and removes it unless the request gave it a name.
func serveFile(w http.ResponseWriter, r *http.Request, path string, keep bool) {
	f, err := os.Open(path)
	if err != nil {
		refuse(w, http.StatusInternalServerError, known(fmt.Errorf("open what was exported: %w", err)))
		return
	}
	defer func() {
		f.Close()
		if !keep && !r.URL.Query().Has("file") {
			_ = os.Remove(path)
		}
	}()
	w.Header().Set("Content-Type", cmp.Or(fileTypes[filepath.Ext(path)], "application/octet-stream"))
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": filepath.Base(path)}))
	http.ServeContent(w, r, "", time.Time{}, f)
}

// readRequest makes the method's request of a route's path, parameters and body.
func readRequest(w http.ResponseWriter, r *http.Request, t route, m method) ([]byte, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, control.Usagef("curl --get --data-urlencode encodes parameters", fmt.Sprintf("the URL's parameters are unreadable: %v", err))
	}
	if t.connect && r.Method == http.MethodGet {
		if values, err = connectMessage(values); err != nil {
			return nil, err
		}
	}
	for from, to := range t.names {
		if v, ok := values[from]; ok {
			values[to] = v
			delete(values, from)
		}
	}
	request, err := fromQuery(m.request, values)
	if err != nil {
		return nil, err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		body, err := readBody(w, r)
		if err != nil {
			return nil, err
		}
		said, err := fromBody(m.request, renamed(body, t.names))
		if err != nil {
			return nil, err
		}
		if err := merge(request, said); err != nil {
			return nil, err
		}
	}
	if err := merge(request, pathMembers(t.path, r)); err != nil {
		return nil, err
	}
	var fixed map[string]any
	if t.set != "" {
		if err := json.Unmarshal([]byte(t.set), &fixed); err != nil {
			return nil, fmt.Errorf("what the route %s says: %w", t.path, err)
		}
	}
	if err := merge(request, fixed); err != nil {
		return nil, err
	}
	if err := validNames(t.path, r); err != nil {
		return nil, err
	}
	return json.Marshal(request)
}

// readBody reads a request's body, which may take a slow client some time, but not forever.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); strings.Contains(kind, "proto") || strings.HasPrefix(kind, "multipart/") {
		return nil, &failure{http.StatusUnsupportedMediaType, control.Usagef("send application/json", "the body is of the type "+kind)}
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder of a test has none
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge()
	case err != nil:
		return nil, &failure{http.StatusRequestTimeout, control.Usagef("send it within "+bodyTimeout.String(), "the body did not come whole: "+err.Error())}
	}
	_ = c.SetReadDeadline(time.Time{})
	return body, nil
}

func tooLarge() error {
	return &failure{http.StatusRequestEntityTooLarge, control.Usagef("ask a smaller question: a filter instead of a list", fmt.Sprintf("the request has more than %d MB", maxRequest/1_000_000))}
}

// merge adds members; what is said twice must be said the same.
func merge(into, from map[string]any) error {
	for k, v := range from {
		if old, ok := into[k]; ok && !reflect.DeepEqual(old, v) {
			return control.Usagef("say it once", fmt.Sprintf("%s is %v in one place of the request and %v in another", k, old, v))
		}
		into[k] = v
	}
	return nil
}

// wildcards are the names in a path's pattern.
func wildcards(pattern string) []string {
	var names []string
	for segment := range strings.SplitSeq(pattern, "/") {
		if strings.HasPrefix(segment, "{") {
			names = append(names, strings.TrimSuffix(strings.Trim(segment, "{}"), "..."))
		}
	}
	return names
}

func pathMembers(pattern string, r *http.Request) map[string]any {
	members := map[string]any{}
	for _, name := range wildcards(pattern) {
		members[name] = r.PathValue(name)
	}
	return members
}

// validNames refuses names in a path that are ways through folders.
func validNames(pattern string, r *http.Request) error {
	for _, name := range wildcards(pattern) {
		v := r.PathValue(name)
		bad := strings.ContainsAny(v, "\\\x00\r\n") || slices.Contains(strings.Split(v, "/"), "..") || v == "" || v == "."
		if bad || !strings.Contains(pattern, name+"...") && strings.Contains(v, "/") {
			return control.Usagef("names come from the lists of the API", fmt.Sprintf("%q is no %s", v, name))
		}
	}
	return nil
}

// failure is an error with the status that HTTP has for it.
type failure struct {
	status int
	error
}

func (f *failure) Unwrap() error { return f.error }

// statusOf is the HTTP status of a method's error.
func statusOf(err error) int {
	var f *failure
	var known *control.Error
	switch {
	case errors.As(err, &f):
		return f.status
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	case !errors.As(err, &known):
		return http.StatusInternalServerError
	}
	if known.Code == control.NotFound {
		return http.StatusNotFound
	}
	switch known.Exit {
	case control.ExitUsage:
		return http.StatusBadRequest
	case control.ExitEnvironment:
		return http.StatusServiceUnavailable
	case control.ExitTimeout:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}

// refuse answers with an error, in the form that the route's clients read.
func (t route) refuse(w http.ResponseWriter, err error) {
	if t.connect {
		writeJSON(w, statusOf(err), connectError(err))
		return
	}
	refuse(w, statusOf(err), known(err))
}

func refuse(w http.ResponseWriter, status int, e *control.Error) { writeJSON(w, status, e) }

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON","exit":5}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that went away
}

// unknownRoute says what there is: the verbs of the path, or all paths.
func unknownRoute(w http.ResponseWriter, r *http.Request, mux *http.ServeMux, routes []route) {
	var verbs []string
	for _, verb := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = verb
		if _, pattern := mux.Handler(probe); pattern != "/" {
			verbs = append(verbs, verb)
		}
	}
	if len(verbs) > 0 && !slices.Contains(verbs, r.Method) {
		w.Header().Set("Allow", strings.Join(verbs, ", "))
		refuse(w, http.StatusMethodNotAllowed, control.Usagef("use "+strings.Join(verbs, " or "), fmt.Sprintf("%s takes no %s", r.URL.Path, r.Method)))
		return
	}
	var paths []string
	for _, t := range routes {
		paths = append(paths, t.verb+" "+t.path)
	}
	refuse(w, http.StatusNotFound, control.Usagef("there are GET /mcp, POST /mcp/tools/call, GET /openapi.json, "+strings.Join(paths, ", "),
		fmt.Sprintf("there is no %s %s", r.Method, r.URL.Path)))
}

// connectCodes are the names of the Connect protocol for HTTP's statuses.
var connectCodes = map[int]string{
	http.StatusBadRequest: "invalid_argument", http.StatusNotFound: "not_found", http.StatusConflict: "already_exists",
	http.StatusServiceUnavailable: "unavailable", http.StatusGatewayTimeout: "deadline_exceeded",
	http.StatusRequestEntityTooLarge: "resource_exhausted",
}

func connectError(err error) any {
	e := known(err)
	message := e.What
	if e.Hint != "" {
		message += ". Fix: " + e.Hint
	}
	return map[string]string{"code": cmp.Or(connectCodes[statusOf(err)], "internal"), "message": message}
}

// connectMessage are the parameters of a Connect GET: a message of JSON, or plain ones.
func connectMessage(values url.Values) (url.Values, error) {
	message := values.Get("message")
	encoding := values.Get("encoding")
	for _, name := range []string{"connect", "encoding", "message", "base64", "compression"} {
		values.Del(name)
	}
	if message == "" {
		return values, nil
	}
	if encoding != "json" {
		return nil, &failure{http.StatusUnsupportedMediaType, control.Usagef("encoding=json", fmt.Sprintf("messages are JSON here, not %q", encoding))}
	}
	var members map[string]string
	if err := json.Unmarshal([]byte(message), &members); err != nil {
		return nil, control.Usagef(`message={"name":"value"}`, "the message is unreadable: "+err.Error())
	}
	for k, v := range members {
		values.Set(k, v)
	}
	return values, nil
}

// renamed gives members of a JSON object the names that they have here.
func renamed(body []byte, names map[string]string) []byte {
	var object map[string]json.RawMessage
	if len(names) == 0 || json.Unmarshal(body, &object) != nil {
		return body
	}
	for from, to := range names {
		if v, ok := object[from]; ok {
			object[to] = v
			delete(object, from)
		}
	}
	b, err := json.Marshal(object)
	if err != nil {
		return body
	}
	return b
}
