package dissect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// rpc is what the client and the server know of a gRPC call.
type rpc struct {
	Path     string
	Code     int // as the client has it
	Message  string
	Sent     int
	Received int
	Timeout  bool
	Encoding string
	State    string
	Error    string
}

type text = wrapperspb.StringValue

const cart = "shop.v1.Cart"

// cartServer answers as its requests tell it to.
type cartServer struct{ done chan struct{} }

var grpcService = grpc.ServiceDesc{
	ServiceName: cart, HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Add", Handler: func(srv any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in text
		if err := dec(&in); err != nil {
			return nil, err
		}
		return srv.(*cartServer).add(ctx, in.Value)
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "Watch", ServerStreams: true, Handler: watchCart},
		{StreamName: "Upload", ClientStreams: true, Handler: uploadCart},
		{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: chatCart},
	},
}

func (s *cartServer) add(ctx context.Context, what string) (any, error) {
	switch what {
	case "missing":
		return nil, status.Error(codes.NotFound, "no cart 7: größer als 100 %")
	case "busy":
		return nil, status.Error(codes.Unavailable, "busy")
	case "slow":
		<-ctx.Done()
		<-s.done
		return nil, ctx.Err()
	}
	return wrapperspb.String("added " + what), nil
}

func watchCart(_ any, s grpc.ServerStream) error {
	var in text
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	for i := range 3 {
		if in.Value == "fail" && i == 2 {
			return status.Error(codes.ResourceExhausted, "enough")
		}
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint("item ", i))); err != nil {
			return err
		}
	}
	return nil
}

func uploadCart(_ any, s grpc.ServerStream) error {
	n := 0
	for {
		var in text
		if err := s.RecvMsg(&in); errors.Is(err, io.EOF) {
			return s.SendMsg(wrapperspb.String(fmt.Sprint(n)))
		} else if err != nil {
			return err
		}
		n++
	}
}

func chatCart(_ any, s grpc.ServerStream) error {
	for {
		var in text
		if err := s.RecvMsg(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendMsg(wrapperspb.String("re: " + in.Value)); err != nil {
			return err
		}
	}
}

// serveCart runs a server on the loopback until stop.
func serveCart() (addr string, s *cartServer, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	s = &cartServer{done: make(chan struct{})}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(8 << 20))
	g.RegisterService(&grpcService, s)
	go g.Serve(l)
	return l.Addr().String(), s, g.Stop, nil
}

func dialCart(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
}

// everyGRPC makes one call of each kind, and logs them in their order.
func everyGRPC(file string) func() error {
	return func() error {
		addr, server, stop, err := serveCart()
		if err != nil {
			return err
		}
		defer stop()
		c, err := dialCart(addr)
		if err != nil {
			return err
		}
		defer c.Close()
		var log []rpc
		note := func(method string, err error, r rpc) {
			r.Path, r.Code, r.Message = "/"+cart+"/"+method, int(status.Code(err)), status.Convert(err).Message()
			if r.State == "" {
				r.State = string(traffic.StateComplete)
			}
			log = append(log, r)
		}
		unary := func(ctx context.Context, method, what string, r rpc, o ...grpc.CallOption) {
			var out text
			err := c.Invoke(ctx, "/"+cart+"/"+method, wrapperspb.String(what), &out, o...)
			r.Sent = 1
			if err == nil {
				r.Received = 1
			}
			note(method, err, r)
		}
		bg := metadata.AppendToOutgoingContext(context.Background(), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"devloop-iteration", "i12", "session-bin", "\x00\xff")
		unary(bg, "Add", "tea", rpc{})
		unary(bg, "Add", "missing", rpc{})
		unary(bg, "Nope", "tea", rpc{})
		unary(bg, "Add", "milk", rpc{Encoding: "gzip"}, grpc.UseCompressor("gzip"))
		unary(bg, "Add", strings.Repeat("x", longBody(file)), rpc{})
		far, cancel := context.WithTimeout(bg, time.Minute)
		unary(far, "Add", "soon", rpc{Timeout: true})
		cancel()
		near, cancel := context.WithTimeout(bg, 100*time.Millisecond)
		unary(near, "Add", "slow", rpc{Timeout: true, State: "unanswered", Error: traffic.ErrorTimeout})
		cancel()
		gone, cancel := context.WithCancel(bg)
		timer := time.AfterFunc(100*time.Millisecond, cancel)
		unary(gone, "Add", "slow", rpc{State: "unanswered", Error: traffic.ErrorCancelled})
		timer.Stop()
		close(server.done)

		for _, what := range []string{"all", "fail"} {
			s, err := c.NewStream(bg, &grpcService.Streams[0], "/"+cart+"/Watch")
			if err != nil {
				return err
			}
			if err = errors.Join(s.SendMsg(wrapperspb.String(what)), s.CloseSend()); err != nil {
				return err
			}
			n := 0
			for err == nil {
				if err = s.RecvMsg(&text{}); err == nil {
					n++
				}
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			note("Watch", err, rpc{Sent: 1, Received: n})
		}
		s, err := c.NewStream(bg, &grpcService.Streams[1], "/"+cart+"/Upload")
		if err != nil {
			return err
		}
		for i := range 4 {
			if err := s.SendMsg(wrapperspb.String(fmt.Sprint("part ", i))); err != nil {
				return err
			}
		}
		err = errors.Join(s.CloseSend(), s.RecvMsg(&text{}))
		note("Upload", err, rpc{Sent: 4, Received: 1})
		if s, err = c.NewStream(bg, &grpcService.Streams[2], "/"+cart+"/Chat"); err != nil {
			return err
		}
		for i := range 3 {
			if err := errors.Join(s.SendMsg(wrapperspb.String(fmt.Sprint("hello ", i))), s.RecvMsg(&text{})); err != nil {
				return err
			}
		}
		s.CloseSend()
		if err := s.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
			return err
		}
		note("Chat", nil, rpc{Sent: 3, Received: 3})
		return writeLog(file, log)
	}
}

// manyRPCs makes 10,000 calls on several connections at once, some of which fail.
func manyRPCs(file string) func() error {
	return func() error {
		addr, _, stop, err := serveCart()
		if err != nil {
			return err
		}
		defer stop()
		var (
			log  []rpc
			lock sync.Mutex
			work sync.WaitGroup
		)
		for conn := range 5 {
			c, err := dialCart(addr)
			if err != nil {
				return err
			}
			defer c.Close()
			for worker := range 4 {
				work.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(conn), uint64(worker)))
					for range 500 {
						what := []string{"tea", "milk", "busy", "missing", strings.Repeat("bread", rng.IntN(900))}[rng.IntN(5)]
						ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
						var out text
						err := c.Invoke(ctx, "/"+cart+"/Add", wrapperspb.String(what), &out)
						cancel()
						r := rpc{Path: "/" + cart + "/Add", Code: int(status.Code(err)), Message: status.Convert(err).Message(), Sent: 1, Timeout: true,
							State: string(traffic.StateComplete)}
						if err == nil {
							r.Received = 1
						}
						lock.Lock()
						log = append(log, r)
						lock.Unlock()
					}
				})
			}
		}
		work.Wait()
		return writeLog(file, log)
	}
}

// longBody is the length of the longest body: the captures in testdata are kept small.
func longBody(file string) int {
	if strings.HasPrefix(file, "testdata") {
		return 17_000
	}
	return 200_000
}

// seenRPC is a call in the words of the client.
func seenRPC(c *traffic.Call) rpc {
	g := c.GRPC
	return rpc{Path: "/" + g.Service + "/" + g.Method, Code: g.Status, Message: g.Message, Sent: g.RequestMessages, Received: g.ResponseMessages,
		Timeout: g.TimeoutNS > 0, Encoding: g.Encoding, State: string(c.State), Error: c.Error}
}

// TestGRPC compares the calls in a capture of Google's client and server with what these two know. The capture is the one
// in testdata and, as root, one that is made anew.
func TestGRPC(t *testing.T) {
	compareReal(t, "grpc", testenv.NeedsRoot, checkGRPC)
}

func checkGRPC(t *testing.T, file string) {
	want := readLog[rpc](t, file)
	calls, conns, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sort.Slice(calls, func(i, j int) bool { return calls[i].Index < calls[j].Index })
	var got []rpc
	for i, c := range calls {
		if c.GRPC == nil {
			t.Errorf("call %d is no gRPC call: %+v", i, c)
			continue
		}
		got = append(got, seenRPC(c))
		if c.Protocol != traffic.ProtoHTTP || c.HTTP.Version != "2" || c.Method != "POST" || c.Path != "/"+c.GRPC.Service+"/"+c.GRPC.Method ||
			c.HTTP.Stream != uint32(2*i+1) || c.HTTP.UnknownHeaders != 0 || c.HTTP.Host == "" || c.RequestPackets.First == 0 || c.Start == 0 ||
			c.TraceID != "0af7651916cd43dd8448eb211c80319c" || c.SpanID != "b7ad6b7169203331" || c.Iteration != "i12" {
			t.Errorf("call %d: %+v, %+v", i, c, c.HTTP)
		}
		if c.State == traffic.StateComplete && (c.Status != 200 || c.ResponsePackets.First == 0 || c.Latency() <= 0) {
			t.Errorf("call %d: status %d, response in %+v, %d ns", i, c.Status, c.ResponsePackets, c.Latency())
		}
	}
	for i := range want {
		if want[i].State == "unanswered" { // what the client makes of it itself never crosses the wire
			want[i].Code, want[i].Message = -1, ""
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calls of %s (-client +dissected):\n%s", file, diff)
	}
	big := calls[4]
	if n := longBody(file); big.RequestSize != int64(5+4+n) || big.HTTP.RequestBodyCut != (n > 64<<10) || len(big.HTTP.RequestBody) != min(9+n, 64<<10) {
		t.Errorf("the long message: %d bytes, %d kept", big.RequestSize, len(big.HTTP.RequestBody))
	}
	if body := calls[0].HTTP.ResponseBody; string(body) != "\x00\x00\x00\x00\x0b\x0a\x09added tea" {
		t.Errorf("response body is %q", body)
	}
	if timeout := calls[5].GRPC.TimeoutNS; timeout < 55e9 || timeout > 60e9 {
		t.Errorf("timeout is %d ns, the client had a minute", timeout)
	}
	if len(conns) != 1 || conns[0].Undecoded != 0 || conns[0].L7 != traffic.ProtoHTTP {
		t.Errorf("connections: %+v", *conns[0])
	}
}

// TestGRPCCheckpoints splits the capture at every packet.
func TestGRPCCheckpoints(t *testing.T) {
	for _, name := range []string{"grpc", "http2"} {
		packets, ifaces := readPackets(filepath.Join("testdata", name, "input.pcapng"), 5000)
		if len(packets) == 0 {
			t.Fatal("no packets")
		}
		for at := range packets {
			split(t, packets, ifaces, at)
			if t.Failed() {
				t.Fatalf("in %s", name)
			}
		}
	}
}

// TestGRPCMany compares 10,000 calls with the client's log, and with what tshark makes of them.
func TestGRPCMany(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 10,000 calls")
	}
	testenv.NeedsRoot(t)
	file := filepath.Join(t.TempDir(), "rpcs.pcapng")
	child(t, "rpcs", file)
	calls, _, err := dissectFile(file)
	if err != nil {
		t.Fatal(err)
	}
	count := func(list []rpc) map[rpc]int {
		m := map[rpc]int{}
		for _, r := range list {
			m[r]++
		}
		return m
	}
	var got []rpc
	for _, c := range calls {
		if c.GRPC == nil {
			t.Fatalf("no gRPC call: %+v", c)
		}
		got = append(got, seenRPC(c))
	}
	if diff := cmp.Diff(count(readLog[rpc](t, file)), count(got)); diff != "" {
		t.Errorf("%d calls (-client +dissected):\n%s", len(got), diff)
	}
	compareTshark(t, file, calls)
}

// TestHTTP2Tshark compares the captures in testdata with tshark.
func TestHTTP2Tshark(t *testing.T) {
	for _, name := range []string{"grpc", "http2"} {
		file := filepath.Join("testdata", name, "input.pcapng")
		calls, _, err := dissectFile(file)
		if err != nil {
			t.Fatal(err)
		}
		compareTshark(t, file, calls)
	}
}

func compareTshark(t *testing.T, file string, calls []*traffic.Call) {
	t.Helper()
	tshark := testenv.NeedsProgram(t, "tshark")
	port := strconv.Itoa(int(calls[0].Dst.Port))
	out, err := exec.Command(tshark, "-r", file, "-d", "tcp.port=="+port+",http2", "-Y", "http2.type==1", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|",
		"-e", "http2.headers.method", "-e", "http2.headers.path", "-e", "http2.headers.status", "-e", "http2.header.name", "-e", "http2.header.value").Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	want, got := map[string]int{}, map[string]int{}
	for line := range bytes.Lines(out) {
		cols := strings.Split(strings.TrimRight(string(line), "\n"), "\t")
		for i, kind := range []string{"method ", "path ", "status "} {
			for v := range strings.SplitSeq(cols[i], "|") {
				if v != "" {
					want[kind+v]++
				}
			}
		}
		names, values := strings.Split(cols[3], "|"), strings.Split(cols[4], "|")
		for i, name := range names {
			if name == "grpc-status" && len(names) == len(values) {
				want["grpc "+values[i]]++
			}
		}
	}
	for _, c := range calls {
		got["method "+c.Method]++
		target := c.Path
		if c.HTTP.Query != "" {
			target += "?" + c.HTTP.Query
		}
		got["path "+target]++
		if c.Status != 0 {
			got["status "+strconv.Itoa(c.Status)]++
		}
		if c.HTTP.Continued {
			got["status 100"]++
		}
		if c.GRPC != nil && c.GRPC.Status >= 0 {
			got["grpc "+strconv.Itoa(c.GRPC.Status)]++
		}
	}
	c := comparison{what: "HTTP/2 and gRPC fields, " + filepath.Base(file), bar: 1}
	for k, n := range want {
		c.tshark += n
		c.ours += min(n, got[k])
	}
	c.judge(t, "2-generated")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-tshark +dissected):\n%s", file, diff)
	}
}
