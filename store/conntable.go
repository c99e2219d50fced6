package store

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// connColumns are all columns of a connRow, in order.
var connColumns = sync.OnceValue(func() []setter { return columnsOf(reflect.TypeFor[connRow](), nil) })

// FindConnections reads the connections of a file that [WriteConnections] wrote whose number in a column (conn_id, flow_id) is one of
// those given, in the order of the file.
func FindConnections(ctx context.Context, path, column string, numbers map[uint64]bool) ([]*traffic.Connection, error) {
	f, err := columns.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open stored connections: %w", err)
	}
	found := make([][]*traffic.Connection, f.Groups())
	err = f.Each(ctx, f.InOrder(), func(_ int, g *columns.Group, number int) (bool, error) {
		found[number], err = connectionsOf(g, column, numbers)
		return true, err
	})
	if shut := f.Close(); err == nil {
		err = shut
	}
	return slices.Concat(found...), err
}

func connectionsOf(g *columns.Group, column string, numbers map[uint64]bool) ([]*traffic.Connection, error) {
	c, err := g.Column(column)
	if err != nil {
		return nil, err
	}
	wanted := make(columns.Bits, (g.Rows+63)/64)
	for i, n := range c.Numbers(new([]int64), g.Rows) {
		if numbers[uint64(n)] {
			wanted.Set(i)
		}
	}
	if wanted.Empty() {
		return nil, nil
	}
	g.Ahead(columnNames(connColumns()), wanted)
	var all []*columns.Column
	for _, s := range connColumns() {
		c, err := g.ColumnOf(s.column, wanted)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	var found []*traffic.Connection
	for i := range wanted.All() {
		var row connRow
		fill(reflect.ValueOf(&row).Elem(), connColumns(), all, i)
		conn, err := row.connection()
		if err != nil {
			return nil, err
		}
		found = append(found, conn)
	}
	return found, nil
}

// ConnectionSums is what all connections of one client to one server, by name, did together.
type ConnectionSums struct {
	Src, Dst, SrcNS, DstNS string // without a name the address
	Connections            int
	Bytes                  uint64  // payload of both directions
	Handshakes             []int64 // nanoseconds, SYN to SYN-ACK as the client saw it, of those that have one
}

// SumConnections sums up the connections of a file by their ends, of those that lived in a window of Unix nanoseconds; an End of 0 is
// no bound. Ends are told apart by the columns of the given suffix: name, pod, ns or node.
func SumConnections(ctx context.Context, path, suffix string, start, end int64) ([]ConnectionSums, error) {
	f, err := columns.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open stored connections: %w", err)
	}
	var mu sync.Mutex
	type key struct{ src, dst, srcNS, dstNS string }
	sums := map[key]*ConnectionSums{}
	err = f.Each(ctx, f.InOrder(), func(_ int, g *columns.Group, _ int) (bool, error) {
		part, err := sumGroup(g, suffix, start, end)
		mu.Lock()
		defer mu.Unlock()
		for _, p := range part {
			k := key{p.Src, p.Dst, p.SrcNS, p.DstNS}
			if s := sums[k]; s != nil {
				s.Connections += p.Connections
				s.Bytes += p.Bytes
				s.Handshakes = append(s.Handshakes, p.Handshakes...)
			} else {
				sums[k] = &p
			}
		}
		return true, err
	})
	if shut := f.Close(); err == nil {
		err = shut
	}
	var all []ConnectionSums
	for _, s := range sums {
		all = append(all, *s)
	}
	return all, err
}

func sumGroup(g *columns.Group, suffix string, start, end int64) ([]ConnectionSums, error) {
	names := []string{"src_" + suffix, "dst_" + suffix, "src_ns", "dst_ns"}
	number := map[string][]int64{}
	for _, name := range []string{"start_ns", "end_ns", "client_bytes", "server_bytes", "handshake_client_ns"} {
		c, err := g.Column(name)
		if err != nil {
			return nil, err
		}
		number[name] = c.Numbers(new([]int64), g.Rows)
	}
	lived, err := livingIn(g, start, end)
	if err != nil {
		return nil, err
	}
	classes := g.Sort(lived, nil)
	defer classes.Done()
	for _, name := range names {
		if err := classes.By(g, name); err != nil {
			return nil, err
		}
	}
	for _, end := range []string{"src", "dst"} { // of those without a name
		nameless, err := g.WhereText(end+"_"+suffix, lived, func(s string) bool { return s == "" })
		if err != nil {
			return nil, err
		}
		if !nameless.Empty() {
			if err := classes.ByAmong(g, end+"_ip", nameless); err != nil {
				return nil, err
			}
		}
	}
	classes.Settle()
	all := make([]ConnectionSums, len(classes.First))
	for i, row := range classes.First {
		if row < 0 {
			continue
		}
		text := func(name string) string {
			c, _ := g.Column(name) // it was read above
			return string(c.Text(row))
		}
		all[i] = ConnectionSums{Src: text(names[0]), Dst: text(names[1]), SrcNS: text(names[2]), DstNS: text(names[3])}
		for _, end := range []struct {
			name   *string
			column string
		}{{&all[i].Src, "src_ip"}, {&all[i].Dst, "dst_ip"}} {
			if *end.name == "" {
				c, err := g.Column(end.column)
				if err != nil {
					return nil, err
				}
				*end.name = string(c.Text(row))
			}
		}
	}
	for i := range lived.All() {
		s := &all[classes.Of[i]]
		s.Connections++
		s.Bytes += uint64(number["client_bytes"][i] + number["server_bytes"][i])
		if took := number["handshake_client_ns"][i]; took > 0 {
			s.Handshakes = append(s.Handshakes, took)
		}
	}
	return slices.DeleteFunc(all, func(s ConnectionSums) bool { return s.Connections == 0 }), nil
}
