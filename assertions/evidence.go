package assertions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/devloop-io/devloop/filter"
	"github.com/devloop-io/devloop/traffic"
)

// How much evidence a result carries.
const (
	evidenceShown = 5
	examplesShown = 2
)

// evidenceOf turns rows into evidence, gravest first unless the order is given.
func (s *selection) evidenceOf(rows []int, ordered bool, limit int) []traffic.Evidence {
	rows = slices.Clone(rows)
	if !ordered {
		slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(gravity(&s.rows[b]), gravity(&s.rows[a])) })
	}
	var all []traffic.Evidence
	for _, i := range rows[:min(len(rows), limit)] {
		all = append(all, evidenceFor(&s.rows[i]))
	}
	return all
}

// CallEvidence turns the first few of some calls into evidence, in their order.
func CallEvidence(calls []*traffic.Call) []traffic.Evidence {
	var all []traffic.Evidence
	for _, c := range calls[:min(len(calls), evidenceShown)] {
		all = append(all, evidenceFor(&filter.Row{Call: c}))
	}
	return all
}

func evidenceFor(r *filter.Row) traffic.Evidence {
	if c := r.Call; c != nil {
		return traffic.Evidence{Call: c.ID, Connection: c.ConnID, Packets: cover(c.RequestPackets, c.ResponsePackets), Summary: describeCall(c)}
	}
	return traffic.Evidence{Connection: r.Conn.ID, Packets: r.Conn.Packets, Summary: describeConnection(r.Conn)}
}

// cover covers two packet ranges, of which either may be empty.
func cover(a, b traffic.PacketRange) traffic.PacketRange {
	switch {
	case a.First == 0:
		return b
	case b.First == 0:
		return a
	}
	return traffic.PacketRange{First: min(a.First, b.First), Last: max(a.Last, b.Last)}
}

// gravity orders evidence: no answer before an error answer before the rest, and then the slowest.
func gravity(r *filter.Row) int64 {
	var class, slowness int64
	if c := r.Call; c != nil {
		switch {
		case c.State == traffic.StateUnanswered || c.State == traffic.StateTruncated:
			class = 4
		case c.Protocol == traffic.ProtoHTTP && c.Status >= 500:
			class = 3
		case c.Protocol == traffic.ProtoHTTP && c.Status >= 400, c.Protocol == traffic.ProtoDNS && c.Status != 0, c.Redis != nil && c.Redis.Error != "",
			c.PostgreSQL != nil && c.PostgreSQL.SQLState != "":
			class = 2
		}
		if slowness = c.Latency(); slowness == 0 && c.State != traffic.StateOpen {
			slowness = max(0, c.End-c.Start)
		}
	} else {
		switch {
		case r.Conn.MidRequestReset:
			class = 4
		case r.Conn.State == traffic.StateReset || r.Conn.State == traffic.StateRefused:
			class = 3
		case r.Conn.WindowMissing+r.Conn.WindowUndecoded+r.Conn.Lost > 0:
			class = 1
		}
		slowness = max(r.Conn.ConnectNS, r.Conn.HandshakeClientNS)
	}
	return class<<60 | min(slowness, 1<<60-1)
}

// describeRow is one row in words, for errors.
func describeRow(r *filter.Row) string {
	if r.Call != nil {
		return "call " + r.Call.ID + " (" + describeCall(r.Call) + ")"
	}
	return fmt.Sprintf("connection %d (%s)", r.Conn.ID, describeConnection(r.Conn))
}

// describeCall is a call in words: "cart → catalogue GET /items 503 in 12 ms, attempt 3 of 3". Text from the wire is cut and cleaned.
func describeCall(c *traffic.Call) string {
	var b strings.Builder
	b.WriteString(edgeName(&c.Src, &c.Dst) + " " + clean(c.Method, 16) + " " + clean(c.Path, 80))
	switch c.State {
	case traffic.StateOpen:
		if c.End != 0 {
			b.WriteString(" answer not captured")
			break
		}
		b.WriteString(" still waiting when the window closed")
	case traffic.StateHalf:
		b.WriteString(" request not captured")
		if c.Status != 0 {
			fmt.Fprintf(&b, ", answer %d", c.Status)
		}
	case traffic.StateUnanswered:
		b.WriteString(" no answer: " + strings.ReplaceAll(cmp.Or(c.Error, "unknown"), "_", " ") + " after " + formatDuration(time.Duration(max(0, c.End-c.Start))))
	default:
		switch {
		case c.DNS != nil && c.DNS.RCode != "":
			b.WriteString(" " + c.DNS.RCode)
		case c.PostgreSQL != nil && c.PostgreSQL.SQLState != "":
			b.WriteString(" " + clean(c.PostgreSQL.SQLState+" "+c.PostgreSQL.Message, 80))
		case c.Redis != nil && c.Redis.Error != "":
			b.WriteString(" " + clean(c.Redis.Error, 80))
		case c.Status != 0:
			fmt.Fprintf(&b, " %d", c.Status)
		}
		b.WriteString(" in " + formatDuration(time.Duration(c.Latency())))
		if c.State == traffic.StateTruncated {
			b.WriteString(", cut off")
		}
	}
	if c.Retry != nil && c.Retry.Attempts > 1 {
		fmt.Fprintf(&b, ", attempt %d of %d", c.Retry.Attempt, c.Retry.Attempts)
	}
	return b.String()
}

// describeConnection is a connection in words.
func describeConnection(c *traffic.Connection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d %s %s", edgeName(&c.Src, &c.Dst), c.Dst.Port, c.Proto, strings.ReplaceAll(string(c.State), "_", " "))
	if c.ResetBy != "" {
		b.WriteString(" by the " + c.ResetBy)
	}
	if c.MidRequestReset {
		b.WriteString(" while a request waited")
	}
	fmt.Fprintf(&b, ", %s", quantify(uint64(max(0, c.WindowCalls)), "call"))
	if c.HandshakeClientNS > 0 {
		b.WriteString(", handshake " + formatDuration(time.Duration(c.HandshakeClientNS)))
	}
	if c.SYNRetransmits > 0 {
		b.WriteString(", " + quantify(uint64(c.SYNRetransmits), "SYN retransmit"))
	}
	for _, p := range []struct {
		n    uint64
		what string
	}{{c.Lost, "packets lost"}, {c.WindowMissing, "bytes missing"}, {c.WindowUndecoded, "bytes not decoded"}} {
		if p.n > 0 {
			fmt.Fprintf(&b, ", %d %s", p.n, p.what)
		}
	}
	return b.String()
}

// clean cuts text from the wire and takes out what could move a cursor or pass for markup of ours.
func clean(s string, limit int) string {
	out := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '�'
		}
		return r
	}, s))
	if len(out) > limit {
		out = append(out[:limit-1], '…')
	}
	return string(out)
}

// edgeName is "cart → catalogue", with addresses where there are no names.
func edgeName(src, dst *traffic.Endpoint) string { return endName(src) + " → " + endName(dst) }

func endName(e *traffic.Endpoint) string {
	if name := e.Workload.Name(); name != "" {
		return clean(name, 64)
	}
	if e.IP.IsValid() {
		return e.IP.Unmap().String()
	}
	return "?"
}

// edgesOf names the edges of some rows, the busiest first: "cart → catalogue", "3 edges, first …".
func (s *selection) edgesOf(rows []int) string {
	count := map[string]int{}
	for _, i := range rows {
		src, dst, _ := rowEnds(&s.rows[i])
		count[edgeName(src, dst)]++
	}
	names := sortedKeys(count)
	slices.SortStableFunc(names, func(a, b string) int { return count[b] - count[a] })
	switch {
	case len(names) == 0:
		return ""
	case len(names) <= 2:
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, %s and %d more edges", names[0], names[1], len(names)-2)
}
