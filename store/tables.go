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
	"reflect"
	"unsafe"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

const (
	dissectionName  = "dissection"
	callsName       = "calls.parquet"
	connectionsName = "connections.parquet"
	lossName        = "loss.json"
)

func (sn *Snapshot) dissectionDir() string { return filepath.Join(sn.dir, dissectionName) }

// batch is how many rows are read at a time.
const batch = 256

// The bounds of a row group: its rows, and the size of the texts in it.
const (
	groupRows  = 32 << 10
	groupBytes = 32 << 20
)

// dictionaryBytes is how large the dictionary of a column may be: in the rest of the row group its texts stand as they are. Bodies and
// headers mostly either repeat or never do.
const dictionaryBytes = 1 << 20

// settled is after how many rows the pages of all columns are looked at. Those of texts are with every text.
const settled = 1 << 10

// table writes rows of one Parquet file with bounded memory.
type table[R any] struct {
	f       io.WriteCloser
	e       *encoder
	row     R
	texts   texts
	columns []column
	parts   []section
	n       int // rows of the row group
	size    int // of its texts
	err     error
}

func newTable[R any](f io.WriteCloser) *table[R] {
	w := parquet.NewGenericWriter[R](io.Discard, parquet.CreatedBy("devloop", "1", "")) // a file without rows tells the schema
	t := &table[R]{f: f, err: w.Close(), columns: columnsFor(w.Schema(), reflect.TypeFor[R]())}
	t.parts = sectionsOf(t.columns)
	t.e = newEncoder(f, t.columns, *w.File().Metadata())
	for i := range t.columns {
		t.columns[i].page = t.e.values(t.columns[i].list())
	}
	return t
}

// add appends a row that fill fills in, and fails when there is no use in more.
func (t *table[R]) add(fill func(*R, *texts) error) error {
	if t.err == nil && t.e.broken.Load() {
		t.err = errBroken
	}
	if t.err != nil {
		return t.err
	}
	t.texts.reset()
	if t.err = fill(&t.row, &t.texts); t.err != nil {
		return t.err
	}
	t.take(unsafe.Pointer(&t.row))
	t.n++
	if t.n%settled == 0 {
		for i := range t.columns {
			if c := &t.columns[i]; c.full() || c.spent(t.n) {
				t.cut(i, t.n)
			}
		}
	}
	if t.n == groupRows || t.size >= groupBytes {
		t.endGroup()
	}
	return nil
}

// take appends the values of a row to their columns.
func (t *table[R]) take(row unsafe.Pointer) {
	for i := range t.parts {
		p := &t.parts[i]
		if i > 0 && !*(*bool)(unsafe.Add(row, p.flag)) {
			continue
		}
		for _, x := range p.eight {
			if *(*uint64)(unsafe.Add(row, x.at)) != 0 {
				t.value(int(x.column), row)
			}
		}
		for _, x := range p.four {
			if *(*uint32)(unsafe.Add(row, x.at)) != 0 {
				t.value(int(x.column), row)
			}
		}
		for _, x := range p.one {
			if *(*bool)(unsafe.Add(row, x.at)) {
				t.value(int(x.column), row)
			}
		}
	}
}

// value appends the value of one column, which is not zero.
func (t *table[R]) value(column int, row unsafe.Pointer) {
	c := &t.columns[column]
	size := c.take(row, t.n)
	if size == 0 {
		return
	}
	t.size += size
	if len(c.page.text) >= pageBytes || c.coded() && c.dict.size > dictionaryBytes {
		t.cut(column, t.n+1)
	}
}

// errBroken says that the rows before could not be written: closing the table tells why.
var errBroken = errors.New("rows before it could not be written")

// cut has the page of a column encoded, which ends before row n.
func (t *table[R]) cut(i, n int) {
	c := &t.columns[i]
	j := job{column: i, first: c.first, n: n - c.first, coding: c.coding}
	if c.plain {
		j.coding = &parquet.Plain
	}
	if c.page.n > 0 {
		c.pad(n)
		j.page = c.page
	}
	t.e.jobs <- j
	c.first = n
	c.plain = c.plain || c.spent(n)
	if j.page != nil || c.page.list != c.list() {
		c.page = t.e.values(c.list())
	}
}

func (t *table[R]) endGroup() {
	if t.n == 0 {
		return
	}
	end := job{rows: t.n, dicts: make([]*dictionary, len(t.columns))}
	for i := range t.columns {
		c := &t.columns[i]
		if c.first < t.n {
			t.cut(i, t.n)
		}
		c.first, c.plain = 0, false
		if c.dict != nil {
			end.dicts[i], c.dict = c.dict, newDictionary(c.dict.kept)
		}
		if c.page.list != c.list() { // it is coded again
			c.page = t.e.values(c.list())
		}
	}
	t.e.jobs <- end
	t.n, t.size = 0, 0
}

// close writes the end of the file, and says why it is not whole.
func (t *table[R]) close() error {
	t.endGroup()
	err := t.e.close()
	if t.err != nil && t.err != errBroken {
		err = errors.Join(t.err, err)
	}
	return errors.Join(err, t.f.Close())
}

// CallWriter writes calls as Parquet. It is made by [NewCallWriter] and is not safe for concurrent use.
type CallWriter struct{ t *table[callRow] }

// NewCallWriter begins a file of calls.
func NewCallWriter(f io.WriteCloser) *CallWriter { return &CallWriter{newTable[callRow](f)} }

// Shares says whose texts never change, so that bodies which it gave need not be copied and compared. It comes before the first call.
func (w *CallWriter) Shares(r *redact.Redactor) {
	for i := range w.t.columns {
		if c := &w.t.columns[i]; c.dict != nil {
			c.dict.kept = r.Keeps
		}
	}
}

// Write appends a call, of which nothing is kept. After an error there is no use in more: Close tells the cause.
func (w *CallWriter) Write(c *traffic.Call) error {
	return w.t.add(func(r *callRow, x *texts) error { return callToRow(c, r, x) })
}

// Close ends the file and closes what it was made with.
func (w *CallWriter) Close() error {
	if err := w.t.close(); err != nil {
		return fmt.Errorf("write calls: %w", err)
	}
	return nil
}

// ConnectionWriter writes connections as Parquet. It is made by [NewConnectionWriter] and is not safe for concurrent use.
type ConnectionWriter struct{ t *table[connRow] }

// NewConnectionWriter begins a file of connections.
func NewConnectionWriter(f io.WriteCloser) *ConnectionWriter {
	return &ConnectionWriter{newTable[connRow](f)}
}

// Write appends a connection, of which nothing is kept. After an error there is no use in more: Close tells the cause.
func (w *ConnectionWriter) Write(c *traffic.Connection) error {
	return w.t.add(func(r *connRow, x *texts) error { return connToRow(c, r, x) })
}

// Close ends the file and closes what it was made with.
func (w *ConnectionWriter) Close() error {
	if err := w.t.close(); err != nil {
		return fmt.Errorf("write connections: %w", err)
	}
	return nil
}

// WriteCalls writes calls as Parquet and closes f.
func WriteCalls(f io.WriteCloser, calls iter.Seq[*traffic.Call]) error {
	w := NewCallWriter(f)
	for c := range calls {
		if w.Write(c) != nil {
			break // closing tells
		}
	}
	return w.Close()
}

// WriteConnections writes connections as Parquet and closes f.
func WriteConnections(f io.WriteCloser, connections iter.Seq[*traffic.Connection]) error {
	w := NewConnectionWriter(f)
	for c := range connections {
		if w.Write(c) != nil {
			break // closing tells
		}
	}
	return w.Close()
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
