package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/derive"
	"github.com/devloop-io/devloop/dissect/facts"
	"github.com/devloop-io/devloop/dissect/retries"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

// Dissect reads the snapshot's packets, beginning with the state that its checkpoint holds, and gives its calls and
// connections: redacted, retries grouped, in the order in which they began. Callbacks in o are not called; without
// o.Resolve the snapshot's identities name the ends. All rows are held: [Snapshot.DissectInto] is for windows of any size.
func (sn *Snapshot) Dissect(ctx context.Context, o dissect.Options) (*traffic.Dissection, error) {
	r, err := sn.reading(o)
	if err != nil {
		return nil, err
	}
	d := &traffic.Dissection{}
	d.Account, err = r.run(ctx, func(c *traffic.Call) { d.Calls = append(d.Calls, c) }, func(c *traffic.Connection) { d.Connections = append(d.Connections, c) }, func(uint64) {})
	if err != nil {
		return nil, fmt.Errorf("dissect snapshot %s: %w", sn.ID(), err)
	}
	Finish(d, sn.s.redactor)
	blame(d)
	for _, c := range d.Calls {
		sn.Window.stampCall(c)
	}
	for _, c := range d.Connections {
		sn.Window.stampConnection(c)
	}
	return d, nil
}

// within says which rows belong to a window that was cut out of the ring: those of which a part lies in it. It is nil for
// other windows, to which all rows belong.
func (w *Window) within() func(start, end int64) bool {
	if !w.Cut {
		return nil
	}
	return func(start, end int64) bool { return start < w.End && max(start, end) >= w.Start }
}

// ran reports whether two ends ran the builds of the window's revision. An end that the revision builds nothing for (the exercise, a
// database), or whose process was not captured, does not count.
func (w *Window) ran(ends ...*traffic.Endpoint) bool {
	for _, e := range ends {
		if build, ok := w.Builds[e.Service]; ok && e.Build != "" && build != e.Build {
			return false
		}
	}
	return true
}

// stampCall writes the window's revision on a call that belongs to it.
func (w *Window) stampCall(c *traffic.Call) {
	if c.Revision == "" && w.ran(&c.Src, &c.Dst) {
		c.Revision = w.Revision
	}
}

// stampConnection is stampCall of a connection.
func (w *Window) stampConnection(c *traffic.Connection) {
	if c.Revision == "" && w.ran(&c.Src, &c.Dst) {
		c.Revision = w.Revision
	}
}

// runWindow reads one window, whose connections go on after it.
func runWindow(ctx context.Context, p *Packets, state []byte, o dissect.Options, tell func(packets uint64)) (traffic.Account, error) {
	d := dissect.New(o)
	if len(state) > 0 {
		var err error
		if d, err = dissect.Restore(o, state); err != nil {
			return traffic.Account{}, err
		}
	}
	var pkt traffic.Packet
	for n := uint64(0); ; n++ {
		if n%1024 == 0 {
			if ctx.Err() != nil {
				return traffic.Account{}, ctx.Err()
			}
			tell(n)
		}
		err := p.Next(&pkt)
		if err == io.EOF {
			a := d.EndWindow()
			tell(n)
			return a, nil
		}
		if err != nil {
			return traffic.Account{}, err
		}
		d.Packet(&pkt, p.Interface(pkt.Interface))
	}
}

// collect runs a dissection of a file and finishes its rows.
func collect(r *redact.Redactor, o dissect.Options, run func(dissect.Options) (traffic.Account, error)) (*traffic.Dissection, error) {
	d := &traffic.Dissection{}
	o.OnCall = func(c *traffic.Call) { d.Calls = append(d.Calls, c) }
	o.OnConnection = func(c *traffic.Connection) { d.Connections = append(d.Connections, c) }
	var err error
	if d.Account, err = run(o); err != nil {
		return nil, err
	}
	Finish(d, r)
	return d, nil
}

// Finish makes a dissection of what a dissector emitted: sorted by start, servers outside named, redacted unless r is nil, retries
// grouped, parents, self times and routes found.
func Finish(d *traffic.Dissection, r *redact.Redactor) {
	dissect.Settle(d.Calls, d.Connections)
	slices.SortStableFunc(d.Calls, beganBefore)
	slices.SortStableFunc(d.Connections, openedBefore)
	nameExternals(d)
	if r != nil {
		for _, c := range d.Calls {
			r.Call(c)
		}
	}
	w := facts.Of(d.Calls, d.Connections)
	retries.Find(w)
	derive.Find(w)
	for i, c := range d.Calls {
		w.At(i).Fill(c)
	}
}

// complete adds to an account what only the capture file knows.
func complete(a *traffic.Account, ifaces []traffic.Interface, cut bool) {
	a.Interfaces = ifaces
	a.FileTruncated = cut
	for _, ifc := range ifaces {
		a.Dropped += ifc.Dropped
		a.Lost = append(a.Lost, ifc.Lost...)
	}
}

// blame adds the losses that are known by flow to the connections that they belong to. A flow that several connections
// used one after another is lost to each of them: the source does not say when.
func blame(d *traffic.Dissection) {
	lost := lossesOf(&d.Account)
	for _, c := range d.Connections {
		c.Lost += lost[TupleOf(c)]
	}
}

// lossesOf are the packets that were lost, by flow.
func lossesOf(a *traffic.Account) map[Tuple]uint64 {
	lost := map[Tuple]uint64{}
	for _, l := range a.Lost {
		lost[Tuple{l.Proto, l.Src, l.Dst}.normal()] += l.Packets
	}
	return lost
}

// Resolver names addresses by identities that were valid at the time; the latest of several wins.
func Resolver(identities []traffic.Identity) func(netip.Addr, int64) (traffic.Workload, bool) {
	byIP := map[netip.Addr][]traffic.Identity{}
	for _, id := range identities {
		ip := id.IP.Unmap()
		byIP[ip] = append(byIP[ip], id)
	}
	for _, list := range byIP {
		slices.SortStableFunc(list, func(a, b traffic.Identity) int { return cmp.Compare(b.From, a.From) })
	}
	return func(ip netip.Addr, at int64) (traffic.Workload, bool) {
		for _, id := range byIP[ip.Unmap()] {
			if id.From <= at && (id.To == 0 || at < id.To) {
				return id.Workload, true
			}
		}
		return traffic.Workload{}, false
	}
}

// FileOptions say how to dissect a capture file.
type FileOptions struct {
	Dissect  dissect.Options  // without Resolve, names in the file name the ends
	Redactor *redact.Redactor // nil leaves everything as it was sent
	KeyLog   []byte           // lines of a TLS key log, besides those in the file
}

// DissectFile dissects a pcap or pcapng file from its first packet to its last.
func DissectFile(ctx context.Context, path string, o FileOptions) (*traffic.Dissection, error) {
	r, err := pcapfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := o.learn(path); err != nil {
		return nil, err
	}
	d, err := dissectReader(ctx, r, o)
	if err != nil {
		return nil, fmt.Errorf("dissect %s: %w", path, err)
	}
	return d, nil
}

// DissectReader is [DissectFile] of a stream, such as standard input.
func DissectReader(ctx context.Context, in io.Reader, o FileOptions) (*traffic.Dissection, error) {
	r := pcapfile.NewReader(in)
	defer r.Close()
	d, err := dissectReader(ctx, r, o)
	if err != nil {
		return nil, fmt.Errorf("dissect capture: %w", err)
	}
	return d, nil
}

func dissectReader(ctx context.Context, r *pcapfile.Reader, o FileOptions) (*traffic.Dissection, error) {
	d, err := collect(o.Redactor, o.Dissect, func(d dissect.Options) (traffic.Account, error) { return runFile(ctx, r, d, o.KeyLog) })
	if err != nil {
		return nil, err
	}
	blame(d)
	return d, nil
}

// StreamFile dissects a capture of any size in bounded memory: rows go to the callbacks of o.Dissect as they complete,
// redacted, and are not kept. Retries are not grouped and parents not found, which needs all calls. The path "-" reads in.
// The callbacks are called in order, by a goroutine of their own, so that what they do takes place on another core; when
// StreamFile returns, it has ended. A call, and all that it refers to, is theirs until they return: its memory is used again.
func StreamFile(ctx context.Context, path string, in io.Reader, o FileOptions) (traffic.Account, error) {
	r := pcapfile.NewReader(in)
	if path != "-" {
		var err error
		if r, err = pcapfile.Open(path); err != nil {
			return traffic.Account{}, err
		}
		if err := o.learn(path); err != nil {
			return traffic.Account{}, err
		}
	}
	defer r.Close()
	s := newStream(&o)
	account, err := runFile(ctx, r, o.Dissect, o.KeyLog)
	s.close()
	if err != nil {
		return account, fmt.Errorf("dissect %s: %w", path, err)
	}
	return account, nil
}

// runFile reads a capture to its end. A file that ends inside a record is dissected as far as it goes, and the account
// says so. The secrets of TLS are those in the file, as they are met, and those of the key log.
func runFile(ctx context.Context, r *pcapfile.Reader, o dissect.Options, keyLog []byte) (traffic.Account, error) {
	if o.Secrets == nil {
		o.Secrets = new(tls.Secrets)
	}
	o.Secrets.Add(keyLog)
	known := 0
	if o.Resolve == nil {
		o.Resolve = fileNames(r)
	}
	r.Finish()
	cut := false
	next := func(p *traffic.Packet) error {
		err := r.Next(p)
		if more := r.Secrets(); len(more) > known {
			o.Secrets.Add(more[known:])
			known = len(more)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) && r.Format() != "" {
			cut = true
			return io.EOF
		}
		return err
	}
	account, err := dissect.Run(ctx, next, r.Interface, o)
	account.Source = "file"
	complete(&account, r.Interfaces(), cut || r.Truncated())
	return account, err
}

// fileNames resolves by the name resolution blocks that r has met so far: a name with dots is a host's, one without a
// service's.
func fileNames(r *pcapfile.Reader) func(netip.Addr, int64) (traffic.Workload, bool) {
	known := map[netip.Addr]traffic.Workload{}
	read := 0
	return func(ip netip.Addr, _ int64) (traffic.Workload, bool) {
		for _, n := range r.Names()[read:] {
			read++
			if len(n.Names) == 0 {
				continue
			}
			w := traffic.Workload{Service: n.Names[0]}
			if strings.Contains(n.Names[0], ".") {
				w = traffic.Workload{DNS: n.Names[0]}
			}
			known[n.Addr.Unmap()] = w
		}
		w, ok := known[ip.Unmap()]
		return w, ok
	}
}
