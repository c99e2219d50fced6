package daemon

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/devloop-io/devloop/dashboard"
	"github.com/devloop-io/devloop/internal/control"
)

const (
	defaultListen  = "127.0.0.1:0"
	maxConnections = 256              // TCP connections at once
	maxRequests    = 64               // requests under way that will end by themselves
	maxStreams     = 32               // requests that last as long as their client
	maxHeader      = 256 << 10        // bytes; filters come in URLs
	writeTimeout   = 60 * time.Second // for one piece of an answer: a client that stopped reading is cut off
	idleTimeout    = 2 * time.Minute  // between the requests of a connection
)

// bodyTimeout is for a request's body, however slow the client; a test does not wait so long.
var bodyTimeout = 30 * time.Second

// face is the API on a TCP port, for whoever has its token.
type face struct {
	url    string
	file   string // with the token
	server *http.Server
}

// listen opens the API on a TCP address. It is there once: whoever asks again gets the same address.
func (s *server) listen(ctx context.Context, r control.ListenRequest) (*control.Listening, error) {
	s.faceMu.Lock()
	defer s.faceMu.Unlock()
	if s.face == nil {
		f, err := s.open(r)
		if err != nil {
			return nil, err
		}
		s.face = f
		s.log.Info("the API is on TCP too; the token is in the file", "url", f.url, "token_file", f.file)
	}
	return &control.Listening{URL: s.face.url, TokenFile: s.face.file}, nil
}

// open listens and serves until the daemon ends.
func (s *server) open(r control.ListenRequest) (*face, error) {
	address := r.Address
	if address == "" {
		address = defaultListen
	}
	host, err := listenHost(address, r.AllowRemote)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, &control.Error{What: err.Error(), Hint: "devloop daemon listen " + defaultListen + " takes a free port", Exit: control.ExitEnvironment}
	}
	token := rand.Text()
	f := &face{url: "http://" + l.Addr().String()}
	if f.file, err = writeToken(s.workspace, token); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	api, err := s.api()
	if err != nil {
		return nil, errors.Join(err, l.Close(), os.Remove(f.file))
	}
	f.server = &http.Server{
		Handler: guard{token: sha256.Sum256([]byte(token)), host: host, remote: r.AllowRemote, doors: &s.doors, static: dashboard.Handler()}.
			around(bounded(api)),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return s.ctx },
	}
	s.wg.Go(func() {
		if err := f.server.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the API on TCP ended", "err", err)
		}
	})
	return f, nil
}

// closeFace ends the API on TCP and makes its token worthless.
func (s *server) closeFace(ctx context.Context) {
	s.faceMu.Lock()
	defer s.faceMu.Unlock()
	if s.face != nil {
		_ = os.Remove(s.face.file)
		_ = s.face.server.Shutdown(ctx) // requests are answered or cut
	}
}

// listenHost is the name that a client may use for the address. Addresses that others can reach are refused unless they are
// meant: what goes over them is not encrypted.
func listenHost(address string, remote bool) (string, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", control.Usagef("devloop daemon listen "+defaultListen, fmt.Sprintf("%q is no address to listen on: %v", address, err))
	}
	if !remote && !loopback(host) {
		return "", control.Usagef("use 127.0.0.1 and a tunnel (ssh -L), or say --allow-remote: the token and all traffic then cross the network unencrypted",
			fmt.Sprintf("%s can be reached from other machines", address))
	}
	return strings.ToLower(host), nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// writeToken puts the token where its owner alone can read it.
func writeToken(workspace, token string) (string, error) {
	file, err := control.TokenPath(workspace)
	if err != nil {
		return "", err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), ".token-*") // of mode 0600
	if err != nil {
		return "", fmt.Errorf("write the token: %w", err)
	}
	_, err = temporary.WriteString(token + "\n")
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("write the token: %w", err), os.Remove(temporary.Name()))
	}
	return file, nil
}

// guard lets those in who have the token, and whose browser was not sent by somebody else.
type guard struct {
	token  [sha256.Size]byte // its digest: comparing digests takes the same time whatever the token
	host   string            // that was listened on
	remote bool
	doors  *doors       // of the dashboard; nil where there is none
	static http.Handler // its page
}

// around guards a handler. The order is from what needs no secret to what does.
func (g guard) around(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		allow(w) // the deadline of the connection's last answer may have passed
		foreign := origins.Check(asWriting(r)) != nil
		switch {
		case !g.knows(r.Host):
			// A name that somebody else resolves to this machine is how web pages reach what is not for them.
			refuse(w, http.StatusForbidden, &control.Error{What: fmt.Sprintf("the host %q is not this machine's", r.Host),
				Hint: "ask by the address that devloop status shows", Exit: control.ExitUsage})
		case g.page(w, r, foreign):
		case foreign:
			refuse(w, http.StatusForbidden, &control.Error{What: "the request comes from a web page of another origin",
				Hint: "ask from a program, or from a page that this address served", Exit: control.ExitUsage})
		case !g.admits(r):
			h.Set("WWW-Authenticate", challenge(r))
			refuse(w, http.StatusUnauthorized, &control.Error{What: unauthorized(r),
				Hint: "devloop daemon token prints the token; send it as Authorization: Bearer TOKEN. Each daemon has a new one", Exit: control.ExitUsage})
		default:
			next.ServeHTTP(patient{w}, r)
		}
	})
}

// knows says whether a Host header names this machine. An address is one that nobody else can point elsewhere.
func (g guard) knows(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	if loopback(name) || g.host != "" && strings.EqualFold(name, g.host) {
		return true
	}
	_, err = netip.ParseAddr(name)
	return g.remote && err == nil
}

// asWriting has the origin of requests that only read checked like that of others.
func asWriting(r *http.Request) *http.Request {
	if r.Method == http.MethodPost {
		return r
	}
	post := *r
	post.Method = http.MethodPost
	return &post
}

func (g guard) admits(r *http.Request) bool {
	given := sha256.Sum256([]byte(bearer(r)))
	return subtle.ConstantTimeCompare(given[:], g.token[:]) == 1 || g.doors != nil && g.doors.admits(bearer(r))
}

// bearer is the token of a request. Proxies of the Kubernetes API keep Authorization for themselves, which is why Kubeshark's
// clients have a header of their own.
func bearer(r *http.Request) string {
	for _, name := range []string{"Authorization", "X-Kubeshark-Authorization"} {
		value := strings.TrimSpace(r.Header.Get(name))
		if scheme, token, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(token)
		} else if value != "" && name != "Authorization" {
			return value
		}
	}
	return ""
}

func unauthorized(r *http.Request) string {
	switch {
	case bearer(r) != "":
		return "the token is wrong, or of a daemon that has ended"
	case r.URL.Query().Has("token") || r.URL.Query().Has("access_token"):
		return "the token does not belong into the URL, which others log"
	default:
		return "a token is needed"
	}
}

// challenge follows RFC 6750, section 3: no error code where no token was given.
func challenge(r *http.Request) string {
	if bearer(r) == "" {
		return `Bearer realm="devloop"`
	}
	return `Bearer realm="devloop", error="invalid_token", error_description="wrong, or of a daemon that has ended; devloop daemon token prints it"`
}

// bounded lets so many requests through at once and tells the others to come again.
func bounded(next http.Handler) http.Handler {
	requests, streams := make(chan struct{}, maxRequests), make(chan struct{}, maxStreams)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		places := requests
		if lasts(r) {
			places = streams
		}
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusServiceUnavailable, &control.Error{What: fmt.Sprintf("%d requests of this kind are under way", cap(places)),
				Hint: "ask again in a second", Exit: control.ExitEnvironment})
		}
	})
}

// lasts says whether a request is answered as long as its client stays.
func lasts(r *http.Request) bool {
	return r.Method == http.MethodGet && wantsEvents(r) || r.URL.Path == "/v1/events"
}

func wantsEvents(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// patient writes to a client that is slow, and not to one that has stopped reading.
type patient struct{ http.ResponseWriter }

func (p patient) Write(b []byte) (int, error) {
	allow(p.ResponseWriter)
	return p.ResponseWriter.Write(b)
}

// allow gives the next piece of an answer its time.
func allow(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a recorder of a test has none
}

// Unwrap is for [http.ResponseController].
func (p patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
