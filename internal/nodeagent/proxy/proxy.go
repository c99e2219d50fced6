// Package proxy is a small proxy into the network that it runs in: HTTP CONNECT, plain HTTP with absolute addresses, and
// SOCKS5 (RFC 1928), all on one port. It resolves names itself, so whoever comes through a port-forward reaches a cluster's
// Services by name. It listens where its caller says: on the loopback of a pod, where whoever gets to may use it; or on a
// developer's machine, where it asks for a password and passes on to the one in the pod.
package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	maxConnections = 512
	greeting       = 30 * time.Second // for the handshake, and to reach the other end
)

// User is the name that goes with a [Options.Token].
const User = "devloop"

// Options of [Serve]. The zero value asks for no password and dials from here.
type Options struct {
	// Token is the password of [User], for SOCKS5 (RFC 1929) and for HTTP (Proxy-Authorization: Basic). Empty asks for none.
	Token string
	// Dial opens connections; a nil one dials from here.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// server is what the connections of one Serve share.
type server struct {
	sum  *[32]byte // of "user:token"; nil where none is asked for
	dial func(ctx context.Context, addr string) (net.Conn, error)
}

func newServer(o Options) *server {
	open := o.Dial
	if open == nil {
		open = new(net.Dialer).DialContext
	}
	s := &server{dial: func(ctx context.Context, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, greeting)
		defer cancel()
		return open(ctx, "tcp", addr)
	}}
	if o.Token != "" {
		sum := sha256.Sum256([]byte(User + ":" + o.Token))
		s.sum = &sum
	}
	return s
}

// admits compares in constant time; the sums are of the same length whatever was sent. A user with a colon in it is
// nobody: what it stands for cannot be told.
func (s *server) admits(user, password string) bool {
	sum := sha256.Sum256([]byte(user + ":" + password))
	return subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1 && user == User
}

// authorized says whether a request has the password in its Proxy-Authorization.
func (s *server) authorized(r *http.Request) bool {
	if s.sum == nil {
		return true
	}
	asked := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, ok := asked.BasicAuth()
	return ok && s.admits(user, password)
}

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	s := newServer(o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host }, FlushInterval: -1,
		Transport: &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return s.dial(ctx, addr) }}}
	web := &handed{conns: make(chan net.Conn), ctx: ctx, addr: l.Addr()}
	answers := &http.Server{ReadHeaderTimeout: greeting, MaxHeaderBytes: 64 << 10, IdleTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !s.authorized(r):
				w.Header().Set("Proxy-Authenticate", `Basic realm="devloop"`)
				w.Header().Set("Connection", "close")
				http.Error(w, "this proxy needs the user and password of the session's proxy URL", http.StatusProxyAuthRequired)
			case r.Method == http.MethodConnect:
				s.tunnel(ctx, w, r)
			case r.URL.Host == "":
				http.Error(w, "this is a proxy: it needs CONNECT, or an absolute address", http.StatusBadRequest)
			default:
				p.ServeHTTP(w, r)
			}
		})}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { answers.Serve(web) })
	defer answers.Close()
	room := make(chan struct{}, maxConnections)
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return fmt.Errorf("proxy on %s: %w", l.Addr(), err)
		}
		c = counted{c, sync.OnceFunc(func() { <-room })}
		wg.Go(func() { s.handle(ctx, c, web) })
	}
}

// handed is a listener of connections that somebody else accepted.
type handed struct {
	conns chan net.Conn
	ctx   context.Context // of Serve, which the listener does not outlive
	addr  net.Addr
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ctx.Done():
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error   { return nil }
func (h *handed) Addr() net.Addr { return h.addr }

// counted is a connection that makes room for another when it is closed.
type counted struct {
	net.Conn
	leave func()
}

func (c counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// peeked is a connection whose first bytes lie in a buffer.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

func (p peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

// handle tells by the first byte what is spoken.
func (s *server) handle(ctx context.Context, c net.Conn, web *handed) {
	c.SetDeadline(time.Now().Add(greeting))
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err != nil {
		c.Close()
		return
	}
	if first[0] == socksVersion {
		defer c.Close()
		s.socks(ctx, peeked{c, r})
		return
	}
	c.SetDeadline(time.Time{})
	select {
	case web.conns <- peeked{c, r}:
	case <-ctx.Done():
		c.Close()
	}
}

// RFC 1928, and RFC 1929 for the password.
const (
	socksVersion = 5

	noAuthentication = 0
	byPassword       = 2
	noneAcceptable   = 0xff

	passwordVersion = 1
	passwordRight   = 0
	passwordWrong   = 1

	commandConnect = 1

	addressIPv4 = 1
	addressName = 3
	addressIPv6 = 4

	succeeded           = 0
	hostUnreachable     = 4
	commandNotSupported = 7
	addressNotSupported = 8
)

// errReply is a refusal that is to be answered with its code.
type errReply byte

func (e errReply) Error() string { return fmt.Sprintf("socks reply %d", byte(e)) }

// readMethods reads: version 1 | count 1 | methods. It says whether the wanted one is among them.
func readMethods(r io.Reader, want byte) (bool, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return false, err
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(r, methods); err != nil {
		return false, err
	}
	return head[0] == socksVersion && bytes.IndexByte(methods, want) >= 0, nil
}

// readPassword reads: version 1 | length 1 | user | length 1 | password.
func readPassword(r io.Reader) (user, password string, err error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return "", "", err
	}
	if version[0] != passwordVersion {
		return "", "", errors.New("not the authentication of RFC 1929")
	}
	if user, err = readShort(r); err != nil {
		return "", "", err
	}
	password, err = readShort(r)
	return user, password, err
}

// readShort reads: length 1 | text.
func readShort(r io.Reader) (string, error) {
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return "", err
	}
	b := make([]byte, n[0])
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// readRequest reads: version 1 | command 1 | reserved 1 | address type 1 | address | port 2.
func readRequest(r io.Reader) (addr string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", err
	}
	if head[0] != socksVersion {
		return "", errors.New("not SOCKS5")
	}
	size := 0
	switch head[3] {
	case addressIPv4:
		size = 4
	case addressIPv6:
		size = 16
	case addressName:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return "", err
		}
		size = int(n[0])
	default:
		return "", errReply(addressNotSupported)
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", err
	}
	if head[1] != commandConnect {
		return "", errReply(commandNotSupported)
	}
	port := strconv.Itoa(int(binary.BigEndian.Uint16(b[size:])))
	if head[3] == addressName {
		if size == 0 || bytes.ContainsAny(b[:size], "[]") { // which no address can be made of
			return "", errReply(addressNotSupported)
		}
		return net.JoinHostPort(string(b[:size]), port), nil
	}
	ip, _ := netip.AddrFromSlice(b[:size])
	return net.JoinHostPort(ip.String(), port), nil
}

// greet agrees on how the client shows who it is, and says whether it may come in.
func (s *server) greet(c net.Conn) bool {
	want := byte(noAuthentication)
	if s.sum != nil {
		want = byPassword
	}
	ok, err := readMethods(c, want)
	if err != nil {
		return false
	}
	if !ok {
		c.Write([]byte{socksVersion, noneAcceptable})
		return false
	}
	c.Write([]byte{socksVersion, want})
	if s.sum == nil {
		return true
	}
	user, password, err := readPassword(c)
	if err != nil {
		return false
	}
	if !s.admits(user, password) {
		c.Write([]byte{passwordVersion, passwordWrong})
		return false
	}
	c.Write([]byte{passwordVersion, passwordRight})
	return true
}

func (s *server) socks(ctx context.Context, c net.Conn) {
	if !s.greet(c) {
		return
	}
	reply := func(code byte) { c.Write([]byte{socksVersion, code, 0, addressIPv4, 0, 0, 0, 0, 0, 0}) }
	addr, err := readRequest(c)
	var refused errReply
	if errors.As(err, &refused) {
		reply(byte(refused))
		return
	}
	if err != nil {
		return
	}
	up, err := s.dial(ctx, addr)
	if err != nil {
		reply(hostUnreachable)
		return
	}
	reply(succeeded)
	join(ctx, c, up)
}

// tunnel answers CONNECT. The context of the request ends when the client has said all that it has to say, so ctx is the server's.
func (s *server) tunnel(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	up, err := s.dial(ctx, r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		up.Close()
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	join(ctx, peeked{c, buffered.Reader}, up)
}

// join copies both ways until both have ended, and passes the end of each on, as a shell's pipe does.
func join(ctx context.Context, c, up net.Conn) {
	defer up.Close()
	c.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { c.Close(); up.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(up, c); closeWrite(up) })
	wg.Go(func() { io.Copy(c, up); closeWrite(c) })
	wg.Wait()
}

func closeWrite(c net.Conn) {
	switch c := c.(type) {
	case peeked:
		closeWrite(c.Conn)
	case counted:
		closeWrite(c.Conn)
	case interface{ CloseWrite() error }:
		c.CloseWrite()
	default:
		c.Close()
	}
}
