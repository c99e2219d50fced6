package kindenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// forward dials a port of one pod through the API server. No port of this machine is opened: a connection is a stream
// within one connection to the API server, which is made again when it broke, or when another pod has taken the first
// one's place. A stream that nobody reads holds up all others of the same forward, so whoever reads long has one of its own.
type forward struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
	find      func() string // the pod's name now
	port      int

	mu   sync.Mutex
	conn httpstream.Connection
	pod  string // that conn leads to
	next int
}

func newForward(config *rest.Config, client kubernetes.Interface, namespace string, find func() string, port int) *forward {
	return &forward{config: config, client: client, namespace: namespace, find: find, port: port}
}

// dialer makes connections to one pod.
func (f *forward) dialer(pod string) (httpstream.Dialer, error) {
	url := f.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(f.namespace).Name(pod).SubResource("portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(f.config)
	if err != nil {
		return nil, err
	}
	old := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	ws, err := portforward.NewSPDYOverWebsocketDialer(url, f.config)
	if err != nil {
		return nil, err
	}
	return portforward.NewFallbackDialer(ws, old, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}

// connection is the one to the API server, made when there is none.
func (f *forward) connection() (httpstream.Connection, int, error) {
	pod := f.find()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn != nil {
		select {
		case <-f.conn.CloseChan():
			f.conn = nil
		default:
		}
	}
	if f.conn != nil && f.pod != pod {
		_ = f.conn.Close() // its pod is gone
		f.conn = nil
	}
	if f.conn == nil {
		conn, err := bounded(connectBound, nil, func() (httpstream.Connection, error) { return f.connect(pod) })
		if err != nil {
			return nil, 0, fmt.Errorf("forward to %s/%s: %w", f.namespace, pod, err)
		}
		f.conn, f.pod = conn, pod
	}
	f.next++
	return f.conn, f.next, nil
}

func (f *forward) connect(pod string) (httpstream.Connection, error) {
	dialer, err := f.dialer(pod)
	if err != nil {
		return nil, err
	}
	conn, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		return nil, errors.Join(fmt.Errorf("the server speaks %q", protocol), conn.Close())
	}
	return conn, nil
}

// Bounds of what the library waits for without end, or for half a minute.
const (
	connectBound = 15 * time.Second // a connection to the API server
	streamBound  = 5 * time.Second  // a stream in one
)

// bounded does something that may take no longer than a bound, and not longer than gone is open. What comes later is closed.
func bounded[T io.Closer](bound time.Duration, gone <-chan bool, do func() (T, error)) (T, error) {
	type done struct {
		what T
		err  error
	}
	result := make(chan done, 1)
	go func() {
		what, err := do()
		result <- done{what, err}
	}()
	t := time.NewTimer(bound)
	defer t.Stop()
	err := fmt.Errorf("no answer within %s", bound)
	select {
	case d := <-result:
		return d.what, d.err
	case <-gone:
		err = errors.New("the connection ended")
	case <-t.C:
	}
	go func() {
		if d := <-result; d.err == nil {
			d.what.Close()
		}
	}()
	var none T
	return none, err
}

// stream opens one. A connection that ends meanwhile does not answer any more: the runtime of the node ends it when nobody
// listens on a port, as while a container is started again.
func (f *forward) stream(conn httpstream.Connection, kind string, id int) (httpstream.Stream, error) {
	headers := http.Header{}
	headers.Set(corev1.StreamType, kind)
	headers.Set(corev1.PortHeader, strconv.Itoa(f.port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	s, err := bounded(streamBound, conn.CloseChan(), func() (httpstream.Stream, error) { return conn.CreateStream(headers) })
	if err != nil {
		f.drop(conn)
		return nil, fmt.Errorf("forward to %s: %w: %w", f.where(), errBroken, err)
	}
	return s, nil
}

// errBroken says that a connection to the API server makes no streams any more.
var errBroken = errors.New("no stream")

// where names the pod in messages.
func (f *forward) where() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.namespace + "/" + f.pod
}

// DialContext opens a connection to the pod's port; the address is not looked at.
func (f *forward) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	type dialled struct {
		conn net.Conn
		err  error
	}
	result := make(chan dialled, 1)
	go func() {
		conn, err := f.dial()
		result <- dialled{conn, err}
	}()
	select {
	case d := <-result:
		return d.conn, d.err
	case <-ctx.Done():
		go func() {
			if d := <-result; d.conn != nil {
				d.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// dial opens a connection, once more when the one to the API server that was there turned out to be broken.
func (f *forward) dial() (net.Conn, error) {
	s, err := f.open()
	if errors.Is(err, errBroken) {
		return f.open()
	}
	return s, err
}

func (f *forward) open() (net.Conn, error) {
	conn, id, err := f.connection()
	if err != nil {
		return nil, err
	}
	trouble, err := f.stream(conn, corev1.StreamTypeError, id)
	if err != nil {
		return nil, err
	}
	trouble.Close() // we only read it
	data, err := f.stream(conn, corev1.StreamTypeData, id)
	if err != nil {
		conn.RemoveStreams(trouble)
		return nil, err
	}
	s := &streamConn{Stream: data, pod: f.where(), done: func() { conn.RemoveStreams(trouble, data) }}
	go func() {
		if said, err := io.ReadAll(io.LimitReader(trouble, 4<<10)); err == nil && len(said) > 0 {
			s.fail(fmt.Errorf("forward to %s: %s", s.pod, said))
		}
	}()
	return s, nil
}

// drop closes a connection that does not make streams any more.
func (f *forward) drop(conn httpstream.Connection) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == conn {
		f.conn = nil
	}
	_ = conn.Close() // it is broken
}

// Close ends the forward and all its connections.
func (f *forward) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conn == nil {
		return nil
	}
	err := f.conn.Close()
	f.conn = nil
	return err
}

// streamConn is a stream as a connection. Deadlines are not kept: its users bound their waits by contexts.
type streamConn struct {
	httpstream.Stream
	pod  string
	once sync.Once
	done func()

	mu  sync.Mutex
	err error
}

// fail keeps why the other end gave up, and ends the stream.
func (s *streamConn) fail(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	_ = s.Stream.Reset()
}

// Read reads what the pod sends.
func (s *streamConn) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

// Close ends both directions.
func (s *streamConn) Close() error {
	s.once.Do(func() {
		_ = s.Stream.Reset()
		s.done()
	})
	return nil
}

// CloseWrite ends our direction.
func (s *streamConn) CloseWrite() error { return s.Stream.Close() }

type podAddr string

func (podAddr) Network() string  { return "portforward" }
func (a podAddr) String() string { return string(a) }

// LocalAddr is ours by name.
func (s *streamConn) LocalAddr() net.Addr { return podAddr("devloop") }

// RemoteAddr is the pod's name.
func (s *streamConn) RemoteAddr() net.Addr { return podAddr(s.pod) }

// SetDeadline is not kept.
func (s *streamConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline is not kept.
func (s *streamConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline is not kept.
func (s *streamConn) SetWriteDeadline(time.Time) error { return nil }
