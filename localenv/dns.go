package localenv

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	dnsTTL          = 5 // seconds; addresses are stable within a session
	dnsForwardBound = 1500 * time.Millisecond
	dnsBreaker      = 15 * time.Second // how long silent resolvers are not asked again
	dnsConcurrent   = 64               // questions in flight at the resolvers, and TCP connections
	dnsUDPSize      = 1232             // DNS flag day 2020: fits every path unfragmented
)

// names is what the DNS responder knows, by lower-case name.
type names struct {
	mu      sync.RWMutex
	byName  map[string]netip.Addr
	byAddr  map[netip.Addr]string
	subnets []netip.Prefix
}

// set makes a name known; the first name of an address is the one that reverse look-ups get.
func (n *names) set(name string, ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byName == nil {
		n.byName, n.byAddr = map[string]netip.Addr{}, map[netip.Addr]string{}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	n.byName[name] = ip
	if _, ok := n.byAddr[ip]; !ok {
		n.byAddr[ip] = name
	}
}

// lookup finds a name, also with the suffixes that it has in a cluster: payment.shop.svc.cluster.local is payment.
func (n *names) lookup(name string) (netip.Addr, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if ip, ok := n.byName[name]; ok {
		return ip, true
	}
	first, rest, _ := strings.Cut(name, ".")
	if !clusterSuffix(rest) {
		return netip.Addr{}, false
	}
	ip, ok := n.byName[first]
	return ip, ok
}

// reverse finds the name of an address, asked as 10.0.77.10.in-addr.arpa; ours says whether the address is one of the
// workspace's at all.
func (n *names) reverse(name string) (host string, ours bool) {
	labels, found := strings.CutSuffix(strings.ToLower(strings.TrimSuffix(name, ".")), ".in-addr.arpa")
	if !found {
		return "", false
	}
	parts := strings.Split(labels, ".")
	slices.Reverse(parts)
	ip, err := netip.ParseAddr(strings.Join(parts, "."))
	if err != nil {
		return "", false
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, p := range n.subnets {
		ours = ours || p.Contains(ip)
	}
	return n.byAddr[ip], ours
}

// clusterSuffix says whether what follows the first label is how a cluster continues it.
func clusterSuffix(rest string) bool {
	switch rest {
	case "default", "local", "svc", "svc.cluster.local":
		return true
	}
	ns, tail, ok := strings.Cut(rest, ".")
	return ok && ns != "" && (tail == "svc" || tail == "svc.cluster" || tail == "svc.cluster.local")
}

// neverOutside says whether a name cannot be known to the host's resolvers: a single label (a service's name with a
// typing error, mostly) and names of clusters. They are refused at once.
func neverOutside(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	_, rest, dotted := strings.Cut(name, ".")
	return !dotted || clusterSuffix(rest) || strings.HasSuffix(name, ".cluster.local")
}

// responder answers DNS questions of services: their names itself, all others by asking the host's resolvers.
type responder struct {
	names     *names
	resolvers []netip.AddrPort
	log       *slog.Logger
	asking    chan struct{} // one token per question in flight
	deadUntil atomic.Int64  // Unix nanoseconds: the resolvers are taken for silent until then

	udp  net.PacketConn
	tcp  net.Listener
	wg   sync.WaitGroup
	done chan struct{}
}

// newResponder makes a responder that serves nothing yet.
func newResponder(n *names, resolvers []netip.AddrPort, log *slog.Logger) *responder {
	return &responder{names: n, resolvers: resolvers, log: log, asking: make(chan struct{}, dnsConcurrent), done: make(chan struct{})}
}

// serve answers on both sockets until close.
func (r *responder) serve(udp net.PacketConn, tcp net.Listener) {
	r.udp, r.tcp = udp, tcp
	r.wg.Add(2)
	go func() { defer r.wg.Done(); r.serveUDP() }()
	go func() { defer r.wg.Done(); r.serveTCP() }()
}

// close ends the responder and waits for its goroutines.
func (r *responder) close() {
	if r.udp == nil {
		return
	}
	close(r.done)
	r.udp.Close()
	r.tcp.Close()
	r.wg.Wait()
}

func (r *responder) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.udp.ReadFrom(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of an earlier answer; the socket lives
		}
		if answer, forward := r.answer(buf[:n]); !forward {
			if answer != nil {
				r.udp.WriteTo(truncate(answer), from)
			}
			continue
		}
		question := slices.Clone(buf[:n])
		select {
		case r.asking <- struct{}{}:
		default:
			r.udp.WriteTo(failure(question, dnsmessage.RCodeServerFailure), from)
			continue
		}
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			defer func() { <-r.asking }()
			r.udp.WriteTo(r.forward("udp", question), from)
		}()
	}
}

func (r *responder) serveTCP() {
	slots := make(chan struct{}, dnsConcurrent)
	for {
		conn, err := r.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			defer func() { <-slots }()
			r.serveConn(conn)
		}()
	}
}

// serveConn answers the questions of one TCP connection (RFC 7766), each preceded by its length.
func (r *responder) serveConn(conn net.Conn) {
	ended := make(chan struct{})
	defer close(ended)
	defer conn.Close()
	go func() { // an idle client must not hold up close
		select {
		case <-r.done:
			conn.Close()
		case <-ended:
		}
	}()
	for {
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		question, err := readTCPMessage(conn)
		if err != nil {
			return
		}
		answer, forward := r.answer(question)
		if forward {
			answer = r.forward("tcp", question)
		}
		if answer == nil || writeTCPMessage(conn, answer) != nil {
			return
		}
	}
}

// answer makes the reply to a question that needs nobody else. A nil answer means silence; forward means that the
// host's resolvers have to be asked.
func (r *responder) answer(msg []byte) (answer []byte, forward bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response {
		return nil, false
	}
	if h.OpCode != 0 {
		return failure(msg, dnsmessage.RCodeNotImplemented), false
	}
	q, err := p.Question()
	if err != nil {
		return failure(msg, dnsmessage.RCodeFormatError), false
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return failure(msg, dnsmessage.RCodeFormatError), false
	}
	name := q.Name.String()
	if ip, ok := r.names.lookup(name); ok {
		if q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL {
			return reply(h, q, dnsmessage.RCodeSuccess, &dnsmessage.AResource{A: ip.As4()}), false
		}
		return reply(h, q, dnsmessage.RCodeSuccess, nil), false // the name exists and has no such record
	}
	if host, ours := r.names.reverse(name); ours {
		if target, err := dnsmessage.NewName(host + "."); host != "" && err == nil && q.Type == dnsmessage.TypePTR {
			return reply(h, q, dnsmessage.RCodeSuccess, &dnsmessage.PTRResource{PTR: target}), false
		}
		return reply(h, q, dnsmessage.RCodeNameError, nil), false
	}
	if neverOutside(name) {
		return reply(h, q, dnsmessage.RCodeNameError, nil), false
	}
	if len(r.resolvers) == 0 || time.Now().UnixNano() < r.deadUntil.Load() {
		return reply(h, q, dnsmessage.RCodeServerFailure, nil), false
	}
	return nil, true
}

// forward asks the host's resolvers, one after the other, within one bound. When none answers, the next questions are
// refused at once for a while: a machine without network must not make services wait.
func (r *responder) forward(network string, msg []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), dnsForwardBound)
	defer cancel()
	go func() {
		select {
		case <-r.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	for i, resolver := range r.resolvers {
		share := dnsForwardBound / time.Duration(len(r.resolvers))
		one, stop := context.WithTimeout(ctx, share)
		answer, err := ask(one, network, resolver, msg)
		stop()
		if err == nil {
			if i > 0 {
				r.log.Debug("a DNS resolver was silent and a later one answered", "resolver", r.resolvers[0].String())
			}
			return answer
		}
	}
	r.deadUntil.Store(time.Now().Add(dnsBreaker).UnixNano())
	return failure(msg, dnsmessage.RCodeServerFailure)
}

// ask sends one question to one resolver and waits for the answer that bears its number and question.
func ask(ctx context.Context, network string, resolver netip.AddrPort, msg []byte) ([]byte, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, resolver.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		if err := writeTCPMessage(conn, msg); err != nil {
			return nil, err
		}
		answer, err := readTCPMessage(conn)
		if err == nil && !answers(answer, msg) {
			err = errors.New("the answer is to another question")
		}
		return answer, err
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], msg) {
			return buf[:n], nil
		}
	}
}

// answers says whether a message is a response to a question: same number, same name and type.
func answers(answer, question []byte) bool {
	var pa, pq dnsmessage.Parser
	ha, err1 := pa.Start(answer)
	hq, err2 := pq.Start(question)
	if err1 != nil || err2 != nil || !ha.Response || ha.ID != hq.ID {
		return false
	}
	qq, err := pq.Question()
	if err != nil {
		return false
	}
	qa, err := pa.Question()
	if err == dnsmessage.ErrSectionDone {
		return ha.RCode != dnsmessage.RCodeSuccess // some resolvers repeat no question in errors
	}
	return err == nil && qa.Type == qq.Type && strings.EqualFold(qa.Name.String(), qq.Name.String())
}

// reply builds an answer of at most one record.
func reply(h dnsmessage.Header, q dnsmessage.Question, code dnsmessage.RCode, body dnsmessage.ResourceBody) []byte {
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired,
			RecursionAvailable: true, RCode: code},
		Questions: []dnsmessage.Question{q},
	}
	if body != nil {
		kind := dnsmessage.TypeA
		if _, ok := body.(*dnsmessage.PTRResource); ok {
			kind = dnsmessage.TypePTR
		}
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: kind, Class: dnsmessage.ClassINET, TTL: dnsTTL}, Body: body}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// failure builds an error answer from whatever of the question can be read; nil when not even its number can.
func failure(msg []byte, code dnsmessage.RCode) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: h.ID, Response: true, OpCode: h.OpCode,
		RecursionDesired: h.RecursionDesired, RecursionAvailable: true, RCode: code}}
	if q, err := p.Question(); err == nil {
		m.Questions = []dnsmessage.Question{q}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// truncate cuts what does not fit a datagram down to its header with the TC bit, so that the client asks by TCP.
func truncate(answer []byte) []byte {
	if len(answer) <= dnsUDPSize {
		return answer
	}
	cut := slices.Clone(answer[:12])
	cut[2] |= 0x02
	clear(cut[4:12])
	return cut
}

func readTCPMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

func writeTCPMessage(w io.Writer, msg []byte) error {
	if len(msg) > 0xffff {
		return errors.New("message over 64 KiB")
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...))
	return err
}

// hostResolvers reads the nameserver lines of a resolv.conf.
func hostResolvers(path string) []netip.AddrPort {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseResolvers(string(text))
}

// parseResolvers keeps the first three, as the C library does.
func parseResolvers(text string) []netip.AddrPort {
	var found []netip.AddrPort
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(f[1]); err == nil && len(found) < 3 {
			found = append(found, netip.AddrPortFrom(ip, 53))
		}
	}
	return found
}
