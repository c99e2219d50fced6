package suggest

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/devloop-io/devloop/assertions"
	"github.com/devloop-io/devloop/traffic"
)

// fault is what could go wrong in a place, planted in rows.
type fault struct {
	what  string // "one answer of 16 becomes a 500"
	only  place  // where it can be planted; anywhere for the zero value
	plant func(m *mutant, p place)
}

// mutant is a copy of a run's rows in which a fault is planted. Rows that it does not change are shared.
type mutant struct {
	names *namer
	calls []*traffic.Call
	conns []*traffic.Connection
	next  uint64 // number of the next new connection
}

// mutate plants a fault in a place of a run.
func mutate(run assertions.Input, names *namer, f fault, p place) assertions.Input {
	d := *run.Dissection
	m := &mutant{names: names, calls: slices.Clone(d.Calls), conns: slices.Clone(d.Connections), next: 1 << 52}
	f.plant(m, p)
	d.Calls, d.Connections = m.calls, m.conns
	run.Dissection = &d
	return run
}

// each hands a copy of every call of a place to change, with its number.
func (m *mutant) each(p place, change func(i int, c *traffic.Call)) {
	n := 0
	for i, c := range m.calls {
		if c == nil || c.Background || !p.covers(m.names.place(c)) {
			continue
		}
		m.calls[i] = copied(c)
		change(n, m.calls[i])
		n++
	}
}

// copied is a call that may be changed: its parts are its own.
func copied(c *traffic.Call) *traffic.Call {
	x := *c
	x.HTTP, x.GRPC, x.Redis, x.PostgreSQL, x.TLS, x.Retry = own(c.HTTP), own(c.GRPC), own(c.Redis), own(c.PostgreSQL), own(c.TLS), own(c.Retry)
	return &x
}

func own[T any](p *T) *T {
	if p == nil {
		return nil
	}
	x := *p
	return &x
}

// again adds a copy of a call.
func (m *mutant) again(c *traffic.Call, n int) *traffic.Call {
	x := copied(c)
	x.ID = c.ID + "~" + strconv.Itoa(n)
	m.calls = append(m.calls, x)
	return x
}

// connect gives a call a connection of its own.
func (m *mutant) connect(c *traffic.Call) *traffic.Connection {
	x := traffic.Connection{Proto: "tcp", L7: c.Protocol, Src: c.Src, Dst: c.Dst, Start: c.Start, End: c.End, State: traffic.StateClosed, Revision: c.Revision}
	for _, k := range m.conns {
		if k != nil && k.ID == c.ConnID {
			x = *k
			break
		}
	}
	x.ID, x.Opened, x.Calls, x.WindowCalls = m.next, true, 1, 1
	x.Src, x.Dst = c.Src, c.Dst
	m.next++
	c.ConnID, c.Index = x.ID, 0
	m.conns = append(m.conns, &x)
	return &x
}

// sixteenth is how many calls go by for one that goes wrong; where there are few, the first does.
const sixteenth = 16

var answers500 = fault{what: "one answer of 16 becomes a 500", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.Status = 500
		}
	})
}}

var failing = fault{what: "one answer of four becomes a 503", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%4 == 0 {
			c.Status = 503
		}
	})
}}

var cutOff = fault{what: "one call of 16 is cut off without an answer", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.State, c.Error, c.Status, c.ResponseStart = traffic.StateUnanswered, traffic.ErrorReset, 0, 0
		}
	})
}}

// slower makes every so manieth call slower.
func slower(ms int64, every int) fault {
	who := map[int]string{1: "each call takes", 2: "every second call takes", 4: "one call of four takes"}[every]
	return fault{what: fmt.Sprintf("%s %d ms longer", who, ms), plant: func(m *mutant, p place) {
		m.each(p, func(i int, c *traffic.Call) {
			if i%every == 0 && c.ResponseStart != 0 {
				c.ResponseStart += ms * 1e6
				c.End += ms * 1e6
			}
		})
	}}
}

var churn = fault{what: "each call opens a connection of its own", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) { m.connect(c) })
}}

func oneByOne(times int) fault {
	return fault{what: fmt.Sprintf("each call becomes %d, made one by one", times), plant: func(m *mutant, p place) {
		m.each(p, func(_ int, c *traffic.Call) {
			for n := 1; n < times; n++ {
				m.again(c, n)
			}
		})
	}}
}

// retried tries one call of eight several times. The pauses are equal.
func retried(what string, attempts int, pauseNS int64) fault {
	return fault{what: what, plant: func(m *mutant, p place) {
		m.each(p, func(i int, c *traffic.Call) {
			if i%8 != 0 {
				return
			}
			for n := range attempts {
				x := c
				if n > 0 {
					x = m.again(c, n)
				}
				x.Retry = &traffic.Retry{Group: c.ID, Attempt: n + 1, Attempts: attempts, Factor: 1, Confidence: "exact"}
				if n > 0 {
					x.Retry.DelayNS = pauseNS
				}
				if n < attempts-1 && c.HTTP != nil {
					x.Status = 503
				}
			}
		})
	}}
}

var (
	storm     = retried("one call of eight is tried six times at once", 6, 1e6)
	noBackoff = retried("retries come after the same 100 ms each time", 3, 100e6)
)

// stranger is a server that no run has seen.
var stranger = traffic.Endpoint{IP: netip.MustParseAddr("203.0.113.77"), Port: 443,
	Workload: traffic.Workload{Kind: traffic.KindExternal, DNS: "telemetry.example.net", Outside: true}}

var newEgress = fault{what: "calls go to telemetry.example.net:443 as well", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i == 0 {
			x := m.again(c, 1)
			x.Dst = stranger
			m.connect(x)
		}
	})
}}

var newEdge = fault{what: "its server is asked by a service that never did", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i == 0 {
			x := m.again(c, 1)
			x.Src.Workload = traffic.Workload{Service: "newcomer", Kind: traffic.KindService}
			m.connect(x)
		}
	})
}}

func lostRequestHeader(name string) fault {
	return fault{what: "requests lose the header " + name, plant: func(m *mutant, p place) {
		m.each(p, func(_ int, c *traffic.Call) {
			c.HTTP.RequestHeaders = without(c.HTTP.RequestHeaders, name)
			c.Credentials = slices.DeleteFunc(slices.Clone(c.Credentials), func(x traffic.Credential) bool { return strings.EqualFold(x.Place, "request.header:"+name) })
		})
	}}
}

func lostResponseHeader(name string) fault {
	return fault{what: "answers lose the header " + name, plant: func(m *mutant, p place) {
		m.each(p, func(_ int, c *traffic.Call) { c.HTTP.ResponseHeaders = without(c.HTTP.ResponseHeaders, name) })
	}}
}

func without(headers []traffic.Header, name string) []traffic.Header {
	return slices.DeleteFunc(slices.Clone(headers), func(h traffic.Header) bool { return strings.EqualFold(h.Name, name) })
}

// renamed renames the last key of a field: "items[].price".
func renamed(field string) fault {
	key := field[strings.LastIndexByte(field, '.')+1:]
	return fault{what: "answers lose the field " + field, plant: func(m *mutant, p place) {
		m.each(p, func(_ int, c *traffic.Call) {
			c.HTTP.ResponseBody = bytes.ReplaceAll(c.HTTP.ResponseBody, []byte(strconv.Quote(key)), []byte(strconv.Quote(key+"_")))
		})
	}}
}

var tokenForwarded = fault{what: "requests carry an Authorization header", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) {
		c.HTTP.RequestHeaders = append(slices.Clone(c.HTTP.RequestHeaders), traffic.Header{Name: "Authorization", Value: "[redacted bearer 32 0]"})
		c.Credentials = append(slices.Clone(c.Credentials), traffic.Credential{Kind: "bearer", Place: "request.header:authorization", Hash: "0"})
	})
}}

var secretInURL = fault{what: "URLs carry an access token", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) {
		c.Credentials = append(slices.Clone(c.Credentials), traffic.Credential{Kind: "jwt", Place: "request.query:access_token", Hash: "0"})
	})
}}

var inTheClear = fault{what: "the connections are not encrypted", plant: func(m *mutant, p place) {
	ids := map[uint64]bool{}
	for _, c := range m.calls {
		if q := p; c != nil {
			q.proto = m.names.place(c).proto
			if q.covers(m.names.place(c).edge()) {
				ids[c.ConnID] = true
			}
		}
	}
	for i, k := range m.conns {
		if k != nil && ids[k.ID] {
			x := *k
			x.L7, x.Encrypted, x.CaptureSource = traffic.ProtoHTTP, 0, ""
			m.conns[i] = &x
		}
	}
}}

var oldTLS = fault{what: "handshakes agree on TLS 1.0", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) { c.TLS.Version = 0x0301 })
}}

var noServerName = fault{what: "handshakes name no server", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) { c.TLS.SNI, c.Path = "", "" })
}}

var grpcUnavailable = fault{what: "one call of 16 ends with UNAVAILABLE", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.GRPC.Status = 14
		}
	})
}}

var noDeadline = fault{what: "calls carry no deadline", plant: func(m *mutant, p place) {
	m.each(p, func(_ int, c *traffic.Call) { c.GRPC.TimeoutNS = 0 })
}}

var redisErrors = fault{what: "one command of 16 is refused", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.Redis.Type, c.Redis.Error = "error", "ERR value is not an integer or out of range"
		}
	})
}}

var redisWalks = fault{what: "one command of 16 lists all keys", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.Method, c.Redis.Command = "KEYS", "KEYS"
		}
	})
}}

var redisMisses = fault{what: "every second key is not found", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if c.Redis.Command == "GET" && i%2 == 0 {
			c.Redis.Type, c.Redis.Reply = "null", ""
		}
	})
}}

var sqlErrors = fault{what: "one query of 16 is refused", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		if i%sixteenth == 0 {
			c.PostgreSQL.SQLState, c.PostgreSQL.Severity = "23505", "ERROR"
		}
	})
}}

// lookups asks for names that are not there, before each call of a place.
var lookups = fault{what: "three names are asked for that are not there, for each call", plant: func(m *mutant, p place) {
	m.each(p, func(i int, c *traffic.Call) {
		for n := range 3 {
			x := m.again(c, n+1)
			name := fmt.Sprintf("missing.search%d.example", n)
			x.Protocol, x.Method, x.Path, x.Status = traffic.ProtoDNS, "A", name, 3
			x.HTTP, x.GRPC, x.Redis, x.PostgreSQL, x.TLS, x.Retry = nil, nil, nil, nil, nil, nil
			x.DNS = &traffic.DNS{Transport: "udp", RCode: "NXDOMAIN", Questions: []traffic.DNSRecord{{Name: name, Type: "A"}}}
		}
	})
}}
