package dissect_test

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// kfl2 is every variable of KFL2 for what is dissected, in the order of Kubeshark's reference.
const kfl2 = `src.ip dst.ip src.port dst.port protocol id node_id index stream timestamp elapsed_time worker conn_id flow_id has_pcap capture_source
	src.pod.name src.pod.namespace dst.pod.name dst.pod.namespace src.service.name src.service.namespace dst.service.name dst.service.namespace
	src.name dst.name src.namespace dst.namespace namespaces pods services node node_name node_ip local_node_name remote_node_name
	local_labels local_annotations remote_labels remote_annotations local_process_name remote_process_name src.dns dst.dns dns_resolutions
	http dns tls tlsx tcp udp grpc redis ws gql gqlv1 gqlv2 postgresql conn flow tcp_conn udp_conn tcp_flow udp_flow
	method url path status_code http_version query_string request.headers response.headers request.cookies response.cookies
	request_headers_size request_body_size response_headers_size response_body_size grpc_method grpc_status
	dns_questions dns_answers dns_question_types dns_request dns_response dns_request_length dns_response_length dns_total_size
	tls_summary tls_info tls_request_size tls_response_size tls_total_size tlsx_sni tlsx_cipher_suite tlsx_cipher_suites tlsx_alpn tlsx_version tlsx_summary tlsx_info
	tcp_method tcp_payload tcp_error_type tcp_error_message udp_length udp_checksum udp_payload
	ws_opcode ws_request ws_response ws_request_payload_data ws_request_payload_length ws_response_payload_length
	redis_type redis_command redis_key redis_request_size redis_response_size redis_total_size
	postgresql_command postgresql_query postgresql_database postgresql_user postgresql_success postgresql_error_code postgresql_error_message
	postgresql_request_size postgresql_response_size postgresql_total_size
	conn_state conn_local_pkts conn_local_bytes conn_remote_pkts conn_remote_bytes conn_l7_detected conn_group_id
	flow_state flow_local_pkts flow_local_bytes flow_remote_pkts flow_remote_bytes flow_local_pps flow_local_bps flow_remote_pps flow_remote_bps
	flow_l7_detected flow_group_id`

// unfilled are the fields that no capture of this test can fill, by why.
var unfilled = func() map[string]string {
	why := map[string]string{}
	for reason, names := range map[string]string{
		"names come from the environment: TestShopServesInPods and TestCleanShopPasses of internal/e2e see them": `src.name src.namespace src.pod.name src.pod.namespace
			src.service.name src.service.namespace src.kind src.build src.process local_process_name src.pid src.container src.node src.dns local_labels local_annotations
			src.owner.name src.owner.kind src.zone src.node.ip src.host_network dst.name dst.namespace dst.pod.name dst.pod.namespace dst.service.name dst.service.namespace
			dst.kind dst.build dst.process remote_process_name dst.pid dst.container dst.node dst.dns remote_labels remote_annotations dst.owner.name dst.owner.kind
			dst.zone dst.node.ip dst.host_network namespaces pods services dns_resolutions node node_name node_ip local_node_name remote_node_name node_id worker`,
		"the environment says what is outside: internal/e2e":                   "src.outside dst.outside egress",
		"the loop numbers revisions: internal/e2e":                             "revision",
		"a source counts what it had no room for: capture's tests":             "lost_packets",
		"it takes an address translation between two points: TestPointsKernel": "original_dst",
		"payload of packets is in the packets, not in rows":                    "tcp_method tcp_payload udp_payload udp_checksum",
	} {
		for name := range strings.FieldsSeq(names) {
			why[name] = reason
		}
	}
	return why
}()

// everyDNS asks with Go's resolver, over UDP and TCP; the server answers as the name says.
func everyDNS(string) func() error {
	return func() error {
		u, err := net.ListenPacket("udp", "127.0.0.1:53")
		if err != nil {
			return err
		}
		defer u.Close()
		l, err := net.Listen("tcp", "127.0.0.1:53")
		if err != nil {
			return err
		}
		defer l.Close()
		go func() {
			b := make([]byte, 1500)
			for {
				n, from, err := u.ReadFrom(b)
				if err != nil {
					return
				}
				if a := answerName(b[:n], true); a != nil {
					_, _ = u.WriteTo(a, from)
				}
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				var size [2]byte
				_, _ = io.ReadFull(c, size[:])
				b := make([]byte, int(size[0])<<8|int(size[1]))
				_, _ = io.ReadFull(c, b)
				a := answerName(b, false)
				_, _ = c.Write(append([]byte{byte(len(a) >> 8), byte(len(a))}, a...))
				c.Close()
			}
		}()
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:53")
		}}
		ask := func(name string, fails bool) error {
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			if _, err := r.LookupIP(ctx, "ip4", name); (err != nil) != fails {
				return fmt.Errorf("%s: %v", name, err)
			}
			return nil
		}
		return errors.Join(ask("shop.example.", false), ask("missing.example.", true), ask("long.example.", false), ask("silent.example.", true))
	}
}

// answerName makes the answer to a question; nil where there shall be none.
func answerName(b []byte, udp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(b) != nil || len(m.Questions) == 0 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	switch name := m.Questions[0].Name; name.String() {
	case "silent.example.":
		return nil
	case "missing.example.":
		m.RCode = dnsmessage.RCodeNameError
	case "long.example.":
		m.Truncated = udp
		fallthrough
	default:
		m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
			Body: &dnsmessage.AResource{A: [4]byte{10, 0, 0, 7}}}}
	}
	b, _ = m.Pack()
	return b
}

// takePush is a client that takes what a server pushes, which few do any more.
const takePush = `
const s = require("http2").connect(process.argv[1])
s.on("stream", (pushed) => { pushed.resume(); pushed.on("end", () => s.close()) })
s.request({":path": "/push"}).resume()`

// handshakes lets curl shake hands with names, certificates in the clear and refusals, and Go resume a session.
func handshakes(ctx context.Context) error {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &cryptotls.Config{MaxVersion: cryptotls.VersionTLS12}
	s.StartTLS()
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	curl := func(args ...string) error {
		return exec.CommandContext(ctx, "curl", append(args, "-s", "-o", "/dev/null", "--resolve", "shop.example:"+port+":127.0.0.1", "https://shop.example:"+port)...).Run()
	}
	err := curl("-k")
	if curl() == nil || curl("-k", "--tlsv1.3") == nil {
		err = errors.Join(err, errors.New("an unknown certificate or an old version was taken"))
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &cryptotls.Config{InsecureSkipVerify: true, ClientSessionCache: cryptotls.NewLRUClientSessionCache(1)}}}
	for range 2 {
		a, failed := c.Get(s.URL)
		if failed == nil {
			failed = a.Body.Close()
		}
		err = errors.Join(err, failed)
	}
	return err
}

// everyOdd is what a client and services do together, with Go's own client: calls that cause calls, retries, credentials, refusals and resets.
func everyOdd(string) func() error {
	return func() error {
		mux := shapes()
		tries := 0
		front := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext}}
		mux.HandleFunc("/back", func(w http.ResponseWriter, r *http.Request) {
			if tries++; tries < 4 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
			}
		})
		mux.HandleFunc("/front", func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "seen", Value: "yes"})
			back := r.Header.Clone()
			back.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
			for wait := 5 * time.Millisecond; ; wait *= 2 {
				q, _ := http.NewRequest("GET", "http://127.0.0.3:8080/back", nil)
				q.Header = back
				a, err := front.Do(q)
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, a.Body)
				if a.Body.Close(); a.StatusCode == 200 {
					return
				}
				<-time.After(wait)
			}
		})
		mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("big ", 50_000)) })
		mux.HandleFunc("/head", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Long", strings.Repeat("é", 10_000)) })
		mux.HandleFunc("/push", func(w http.ResponseWriter, r *http.Request) {
			if err := w.(http.Pusher).Push("/plain/pushed", nil); err != nil {
				http.Error(w, err.Error(), http.StatusNotImplemented)
			}
		})
		var both http.Protocols
		both.SetHTTP1(true)
		both.SetUnencryptedHTTP2(true)
		s := &http.Server{Handler: mux, Protocols: &both}
		for _, addr := range []string{"127.0.0.1:8080", "127.0.0.2:8080", "127.0.0.3:8080"} {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			go s.Serve(l)
		}
		defer s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		err := ask(ctx, "GET", "/front?page=2", nil, func(r *http.Request) {
			r.URL.Host = "127.0.0.2:8080"
			r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			r.Header.Set("Baggage", "devloop.iteration=i7")
			r.SetBasicAuth("anna", "hunter2-and-more")
			r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
		})
		if ask(ctx, "GET", "/reset", nil, func(r *http.Request) { r.Header.Set("User-Agent", "kube-probe/1.30") }) == nil {
			err = errors.Join(err, errors.New("/reset was answered"))
		}
		err = errors.Join(err, ask(ctx, "GET", "/plain/12345", nil, nil), ask(ctx, "POST", "/continue", strings.NewReader(strings.Repeat("x", 200_000)), nil), ask(ctx, "GET", "/big", nil, nil), ask(ctx, "GET", "/head", nil, nil),
			exec.CommandContext(ctx, "node", "-e", takePush, base).Run(), handshakes(ctx))
		if _, refused := net.Dial("tcp", "127.0.0.1:9"); refused == nil {
			err = errors.Join(err, errors.New("port 9 is open"))
		}
		return err
	}
}

// TestFieldsFilled finds each field of the language filled in some row of captures of real clients, or says why it cannot be.
func TestFieldsFilled(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, program := range []string{"curl", "node", "nft"} {
		testenv.NeedsProgram(t, program)
	}
	files := map[string]string{}
	for _, name := range []string{"real_client", "http2", "grpc", "postgresql", "redis"} {
		files[name] = filepath.Join("testdata", name, "input.pcapng")
	}
	for _, name := range []string{"websocket", "events", "graphql", "grpcweb", "dns", "odd", "tcp"} {
		files[name] = filepath.Join(t.TempDir(), name+".pcapng")
		child(t, name, files[name])
	}
	filled, heads := map[string]string{}, map[string]uint64{}
	fields := filter.Fields()
	note := func(file string, r *filter.Row) {
		for i := range fields {
			f := &fields[i]
			if filled[f.Name] != "" {
				continue
			}
			if v, ok := f.Get(r); ok && v.Equal(f.Default()) != types.True {
				filled[f.Name] = file
			}
		}
	}
	for name, file := range files {
		calls, conns, err := dissectFile(file)
		if err != nil {
			t.Fatal(err)
		}
		noteAll(name, calls, conns, note)
		for _, c := range calls {
			if c.Path == "/head" {
				heads[file] = c.ResponsePackets.First
			}
		}
	}
	for name, file := range files { // what a capture that lost packets, or that began late, tells
		packets, ifaces := readPackets(file, 1<<20)
		if at := int(heads[file]); at > 0 { // the second of the packets that carry a head
			var got rows
			feed(dissect.New(got.into()), slices.Concat(packets[:at], packets[at+2:]), ifaces)
			noteAll(name+" with a hole in a head", got.Calls, got.Connections, note)
		}
		for _, every := range []int{3, 5, 7, 11, 0} {
			kept := packets[len(packets)/2:]
			if every > 0 {
				kept = nil
				for i := range packets {
					if i%every != 2 {
						kept = append(kept, packets[i])
					}
				}
			}
			var got rows
			feed(dissect.New(got.into()), kept, ifaces)
			noteAll(name+" with losses", got.Calls, got.Connections, note)
		}
	}
	calls := dissectWithSecrets(t, filepath.Join("testdata", "browser", "input.pcapng"))
	noteAll("browser", calls, nil, note)
	for i := range fields {
		switch f := &fields[i]; {
		case f.Stub:
		case filled[f.Name] == "" && unfilled[f.Name] == "":
			t.Errorf("%s is filled in no row", f.Name)
		case filled[f.Name] != "" && unfilled[f.Name] != "":
			t.Errorf("%s is filled in %s, though %s", f.Name, filled[f.Name], unfilled[f.Name])
		}
	}
	for name := range strings.FieldsSeq(kfl2) {
		if f, ok := filter.Lookup(name); !ok || f.Stub && unfilled[name] == "" {
			t.Errorf("%s of KFL2 is not in the table, or holds nothing", name)
		}
	}
}

// noteAll looks at the calls, each with its connection, and at the connections, after all that is derived from them.
func noteAll(name string, calls []*traffic.Call, conns []*traffic.Connection, note func(string, *filter.Row)) {
	front := netip.MustParseAddr("127.0.0.2") // names come from the environment; the loopback without is nobody
	service := func(is map[bool]string) {
		for _, c := range calls {
			c.Src.Service, c.Dst.Service = is[c.Src.IP == front], is[c.Dst.IP == front]
		}
	}
	service(map[bool]string{true: "front"})
	retries.Group(calls, conns)
	derive.All(calls)
	service(nil)
	for _, c := range conns {
		note(name, &filter.Row{Conn: c})
	}
	r := redact.New([]byte("key"), redact.Options{})
	for _, c := range calls {
		note(name, &filter.Row{Call: c})
		r.Call(c)
		note(name, &filter.Row{Call: c})
	}
}
