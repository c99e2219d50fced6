// Package proxy is a small proxy into the network that it runs in: HTTP CONNECT, plain HTTP with absolute addresses, and
// SOCKS5 (RFC 1928) without authentication, all on one port. It resolves names itself, so whoever comes through a
// port-forward reaches a cluster's Services by name. It listens where its caller says: on the loopback of a pod.
package proxy

import (
	"bufio"
	"context"
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

// Serve answers on l until ctx ends.
func Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host }, FlushInterval: -1,
		Transport: &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute}}
	web := &handed{conns: make(chan net.Conn), ctx: ctx, addr: l.Addr()}
	server := &http.Server{ReadHeaderTimeout: greeting, IdleTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodConnect:
				tunnel(ctx, w, r)
			case r.URL.Host == "":
				http.Error(w, "this is a proxy: it needs CONNECT, or an absolute address", http.StatusBadRequest)
			default:
				p.ServeHTTP(w, r)
			}
		})}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { server.Serve(web) })
	defer server.Close()
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
		wg.Go(func() { handle(ctx, c, web) })
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
func handle(ctx context.Context, c net.Conn, web *handed) {
	c.SetDeadline(time.Now().Add(greeting))
	r := bufio.NewReader(c)
	first, err := r.Peek(1)
	if err != nil {
		c.Close()
		return
	}
	if first[0] == socksVersion {
		defer c.Close()
		socks(ctx, peeked{c, r})
		return
	}
	c.SetDeadline(time.Time{})
	select {
	case web.conns <- peeked{c, r}:
	case <-ctx.Done():
		c.Close()
	}
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greeting)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// RFC 1928.
const (
	socksVersion = 5

	noAuthentication = 0
	noneAcceptable   = 0xff

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

// readMethods reads: version 1 | count 1 | methods. It says whether no authentication is among them.
func readMethods(r io.Reader) (bool, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return false, err
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(r, methods); err != nil {
		return false, err
	}
	for _, m := range methods {
		if m == noAuthentication {
			return head[0] == socksVersion, nil
		}
	}
	return false, nil
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
		if size == 0 {
			return "", errReply(addressNotSupported)
		}
		return net.JoinHostPort(string(b[:size]), port), nil
	}
	ip, _ := netip.AddrFromSlice(b[:size])
	return net.JoinHostPort(ip.String(), port), nil
}

func socks(ctx context.Context, c net.Conn) {
	ok, err := readMethods(c)
	if err != nil {
		return
	}
	if !ok {
		c.Write([]byte{socksVersion, noneAcceptable})
		return
	}
	c.Write([]byte{socksVersion, noAuthentication})
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
	up, err := dial(ctx, addr)
	if err != nil {
		reply(hostUnreachable)
		return
	}
	reply(succeeded)
	join(ctx, c, up)
}

// tunnel answers CONNECT. The context of the request ends when the client has said all that it has to say, so ctx is the server's.
func tunnel(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	up, err := dial(ctx, r.Host)
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
