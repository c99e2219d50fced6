package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/traffic"
)

const (
	dissectionName  = "dissection"
	callsName       = "calls.parquet"
	connectionsName = "connections.parquet"
	lossName        = "loss.json"
)

func (sn *Snapshot) dissectionDir() string { return filepath.Join(sn.dir, dissectionName) }

// batch is how many rows are converted at a time.
const batch = 256

// The bounds of a row group: what it takes in memory, encoded, about how much it holds, and its rows.
const (
	groupMemory = 16 << 20
	groupBytes  = 64 << 20
	groupRows   = 32 << 10
)

// dictionaryBytes is how large the dictionary of a column may be: in the rest of the row group its texts stand as they are. Bodies and
// headers mostly either repeat or never do.
const dictionaryBytes = 1 << 20

// table writes rows of one Parquet file with bounded memory.
type table[R any] struct {
	f     io.WriteCloser
	w     *parquet.GenericWriter[R]
	rows  []R
	texts texts
	dicts []*parquet.ColumnWriter // of dictColumns
	size  int                     // of the batch
	fresh int                     // size of what came since dicts were asked
	group int                     // rows of the current row group
	holds int                     // size of it
	start int64                   // where it begins in the file
}

// dictColumns have dictionaries that could fill quickly.
var dictColumns = []string{"resp_headers", "req_body", "resp_body"}

func newTable[R any](f io.WriteCloser) *table[R] {
	options := []parquet.WriterOption{parquet.Compression(new(fastZstd)), parquet.CreatedBy("devloop", "1", ""),
		parquet.PageBufferSize(32 << 10), parquet.WriteBufferSize(64 << 10), parquet.DictionaryMaxBytes(dictionaryBytes), parquet.DataPageStatistics(false),
		parquet.DefaultEncodingFor(parquet.Int32, &parquet.DeltaBinaryPacked), parquet.DefaultEncodingFor(parquet.Int64, &parquet.DeltaBinaryPacked),
		parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.DeltaLengthByteArray)}
	schema := parquet.SchemaOf(new(R))
	for _, path := range schema.Columns() {
		if leaf, _ := schema.Lookup(path...); leaf.Node.Type().Kind() == parquet.ByteArray {
			options = append(options, parquet.SkipPageBounds(path...)) // the smallest and the largest text of a page tell little
		}
	}
	t := &table[R]{f: f, rows: make([]R, 0, batch), w: parquet.NewGenericWriter[R](f, options...)}
	for i, path := range t.w.Schema().Columns() {
		if slices.Contains(dictColumns, path[0]) {
			t.dicts = append(t.dicts, t.w.ColumnWriters()[i])
		}
	}
	return t
}

// add appends a row that fill fills in; size is about what it weighs.
func (t *table[R]) add(size int, fill func(*R, *texts) error) error {
	t.rows = t.rows[:len(t.rows)+1]
	if err := fill(&t.rows[len(t.rows)-1], &t.texts); err != nil {
		return err
	}
	t.size += size
	if len(t.rows) < batch && t.size < dictionaryBytes {
		return nil
	}
	return t.flush()
}

func (t *table[R]) flush() error {
	_, err := t.w.Write(t.rows)
	t.group += len(t.rows)
	t.fresh += t.size
	t.holds += t.size
	clear(t.rows)
	t.rows = t.rows[:0]
	t.texts.reset()
	t.size = 0
	if err == nil && t.fresh >= dictionaryBytes {
		t.fresh = 0
		for _, c := range t.dicts { // a column gives its dictionary up at the end of a page
			err = errors.Join(err, c.Flush())
		}
	}
	if size := t.w.Size(); err == nil && (t.group >= groupRows || t.holds >= groupBytes || size-t.start >= groupMemory) {
		t.group, t.holds = 0, 0
		err = t.w.Flush()
		t.start = t.w.Size()
	}
	return err
}

func (t *table[R]) Close() error {
	err := t.flush()
	if err == nil {
		err = t.w.Close()
	}
	return errors.Join(err, t.f.Close())
}

// weight of a call in a row group.
func weight(c *traffic.Call) int {
	n := 1 << 10
	if h := c.HTTP; h != nil {
		n += len(h.RequestBody) + len(h.ResponseBody) + h.RequestHeadersSize + h.ResponseHeadersSize
	}
	if p := c.PostgreSQL; p != nil {
		n += len(p.Query) + len(p.Fingerprint) + len(p.Message) + 64*len(p.Arguments)
	}
	if d := c.Redis; d != nil {
		n += len(d.Reply)
		for _, a := range d.Args {
			n += len(a)
		}
	}
	return n
}

// WriteCalls writes calls as Parquet and closes f.
func WriteCalls(f io.WriteCloser, calls iter.Seq[*traffic.Call]) error {
	t := newTable[callRow](f)
	for c := range calls {
		if err := t.add(weight(c), func(r *callRow, x *texts) error { return callToRow(c, r, x) }); err != nil {
			return fmt.Errorf("write calls: %w", errors.Join(err, f.Close()))
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write calls: %w", err)
	}
	return nil
}

// WriteConnections writes connections as Parquet and closes f.
func WriteConnections(f io.WriteCloser, connections iter.Seq[*traffic.Connection]) error {
	t := newTable[connRow](f)
	for c := range connections {
		if err := t.add(1<<10, func(r *connRow, _ *texts) error { return connToRow(c, r) }); err != nil {
			return fmt.Errorf("write connections: %w", errors.Join(err, f.Close()))
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write connections: %w", err)
	}
	return nil
}

// ReadCalls reads the calls of a file that [WriteCalls] wrote, a few at a time.
func ReadCalls(path string) iter.Seq2[*traffic.Call, error] {
	return readTable(path, func(r *callRow) (*traffic.Call, error) { return r.call() })
}

// ReadConnections reads the connections of a file that [WriteConnections] wrote, a few at a time.
func ReadConnections(path string) iter.Seq2[*traffic.Connection, error] {
	return readTable(path, func(r *connRow) (*traffic.Connection, error) { return r.connection() })
}

func readTable[R, T any](path string, convert func(*R) (*T, error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		fail := func(err error) { yield(nil, fmt.Errorf("read %s: %w", filepath.Base(path), err)) }
		f, err := os.Open(path)
		if err != nil {
			fail(err)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			fail(err)
			return
		}
		pf, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err != nil {
			fail(err)
			return
		}
		r := parquet.NewGenericReader[R](pf)
		defer r.Close()
		rows := make([]R, batch/4)
		for {
			n, err := r.Read(rows)
			for i := range n {
				v, err := convert(&rows[i])
				if err != nil {
					fail(err)
					return
				}
				if !yield(v, nil) {
					return
				}
			}
			if err == io.EOF || err == nil && n == 0 {
				return
			}
			if err != nil {
				fail(err)
				return
			}
		}
	}
}

// WriteDissection stores the rows of a dissection of this snapshot, redacted as they are given. An earlier dissection is
// replaced whole.
func (sn *Snapshot) WriteDissection(ctx context.Context, d *traffic.Dissection) error {
	if err := sn.writeDissection(ctx, d); err != nil {
		return fmt.Errorf("write dissection of snapshot %s: %w", sn.ID(), full(err))
	}
	return nil
}

func (sn *Snapshot) writeDissection(ctx context.Context, d *traffic.Dissection) error {
	return sn.writeRows(d, func(dir string, names []string) error {
		place := sn.dissectionDir()
		if _, err := os.Lstat(place); err == nil {
			old, dropOld, err := sn.s.temp()
			if err != nil {
				return err
			}
			defer dropOld()
			if err := os.Rename(place, filepath.Join(old, dissectionName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return sn.s.publish(ctx, dir, place, sn.ID(), names)
	})
}

// writeRows writes the files of a dissection into a folder, which publish puts in its place.
func (sn *Snapshot) writeRows(d *traffic.Dissection, publish func(dir string, names []string) error) error {
	s := sn.s
	dir, drop, err := s.temp()
	if err != nil {
		return err
	}
	defer drop()
	calls, err := s.create(filepath.Join(dir, callsName))
	if err != nil {
		return err
	}
	if err := WriteCalls(calls, seq(d.Calls)); err != nil {
		return err
	}
	conns, err := s.create(filepath.Join(dir, connectionsName))
	if err != nil {
		return err
	}
	if err := WriteConnections(conns, seq(d.Connections)); err != nil {
		return err
	}
	if err := s.writeJSON(filepath.Join(dir, lossName), d.Account); err != nil {
		return err
	}
	return publish(dir, []string{callsName, connectionsName, lossName})
}

func seq[T any](list []*T) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, v := range list {
			if !yield(v) {
				return
			}
		}
	}
}

// ReadDissection reads the stored rows. It is fs.ErrNotExist when the snapshot was never dissected.
func (sn *Snapshot) ReadDissection() (*traffic.Dissection, error) {
	d, err := sn.readDissection()
	if err != nil {
		return nil, fmt.Errorf("read dissection of snapshot %s: %w", sn.ID(), err)
	}
	return d, nil
}

func (sn *Snapshot) readDissection() (*traffic.Dissection, error) {
	dir := sn.dissectionDir()
	m, err := readManifest(dir, sn.ID())
	if err != nil {
		return nil, err
	}
	if err := m.checkSizes(dir); err != nil {
		return nil, err
	}
	d := &traffic.Dissection{}
	for c, err := range ReadCalls(filepath.Join(dir, callsName)) {
		if err != nil {
			return nil, err
		}
		d.Calls = append(d.Calls, c)
	}
	for c, err := range ReadConnections(filepath.Join(dir, connectionsName)) {
		if err != nil {
			return nil, err
		}
		d.Connections = append(d.Connections, c)
	}
	b, err := os.ReadFile(filepath.Join(dir, lossName))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &d.Account); err != nil {
		return nil, fmt.Errorf("read %s: %w", lossName, err)
	}
	return d, nil
}

// Calls reads the stored calls one by one, for snapshots too large to hold.
func (sn *Snapshot) Calls() iter.Seq2[*traffic.Call, error] {
	return ReadCalls(filepath.Join(sn.dissectionDir(), callsName))
}

// Connections reads the stored connections one by one.
func (sn *Snapshot) Connections() iter.Seq2[*traffic.Connection, error] {
	return ReadConnections(filepath.Join(sn.dissectionDir(), connectionsName))
}

// CallsPath is the Parquet file of the calls, for engines that read it themselves.
func (sn *Snapshot) CallsPath() string { return filepath.Join(sn.dissectionDir(), callsName) }

// ConnectionsPath is the Parquet file of the connections.
func (sn *Snapshot) ConnectionsPath() string {
	return filepath.Join(sn.dissectionDir(), connectionsName)
}
