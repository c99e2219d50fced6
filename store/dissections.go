package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/devloop-io/devloop/store/columns"
	"github.com/devloop-io/devloop/traffic"
)

// DefaultDissection is the name of the dissection that an iteration is judged by.
const DefaultDissection = dissectionName

// dissectionsName is the folder of the dissections that somebody named.
const dissectionsName = "dissections"

// Dissection is one stored dissection of a snapshot. It does not change while its snapshot is open, unless it is deleted.
type Dissection struct {
	Snapshot string `json:"snapshot"`
	Name     string `json:"name"`
	Created  int64  `json:"created_ns"`
	Size     int64  `json:"size"` // bytes
	dir      string
}

// ErrJudged says that a dissection belongs to an iteration's verdict.
var ErrJudged = errors.New("an iteration was judged by it: it goes with its snapshot")

// CheckName says whether a name can be that of a snapshot or a dissection.
func CheckName(name string) error { return checkID(name) }

// dissectionPlace is where the dissection of a name lies.
func (sn *Snapshot) dissectionPlace(name string) string {
	if name == DefaultDissection {
		return sn.dissectionDir()
	}
	return filepath.Join(sn.dir, dissectionsName, name)
}

// Dissections lists the stored dissections, oldest first. Damaged ones are left out.
func (sn *Snapshot) Dissections() []Dissection { return dissections(sn.dir, sn.ID()) }

func dissections(dir, id string) []Dissection {
	names := []string{filepath.Join(dir, dissectionName)}
	if entries, err := os.ReadDir(filepath.Join(dir, dissectionsName)); err == nil { // usually there are none
		for _, e := range entries {
			names = append(names, filepath.Join(dir, dissectionsName, e.Name()))
		}
	}
	var list []Dissection
	for _, place := range names {
		if m, err := readManifest(place, id); err == nil {
			list = append(list, Dissection{Snapshot: id, Name: filepath.Base(place), Created: m.Created, Size: m.Size(), dir: place})
		}
	}
	slices.SortStableFunc(list, func(a, b Dissection) int { return cmp.Compare(a.Created, b.Created) })
	return list
}

// Dissection opens a stored dissection; fs.ErrNotExist when there is none of that name.
func (sn *Snapshot) Dissection(name string) (*Dissection, error) {
	d, err := sn.dissection(name)
	if err != nil {
		return nil, fmt.Errorf("open dissection %s of snapshot %s: %w", name, sn.ID(), err)
	}
	return d, nil
}

func (sn *Snapshot) dissection(name string) (*Dissection, error) {
	if err := checkID(name); err != nil {
		return nil, err
	}
	place := sn.dissectionPlace(name)
	m, err := readManifest(place, sn.ID())
	if err != nil {
		return nil, err
	}
	if err := m.checkSizes(place); err != nil {
		return nil, err
	}
	return &Dissection{Snapshot: sn.ID(), Name: name, Created: m.Created, Size: m.Size(), dir: place}, nil
}

// WriteDissectionAs stores the rows of a dissection under a name of its own. A name is used once.
func (sn *Snapshot) WriteDissectionAs(ctx context.Context, name string, d *traffic.Dissection) error {
	err := checkID(name)
	if err == nil {
		err = sn.writeDissectionAs(ctx, name, d)
	}
	if err != nil {
		return fmt.Errorf("write dissection %s of snapshot %s: %w", name, sn.ID(), full(err))
	}
	return nil
}

func (sn *Snapshot) writeDissectionAs(ctx context.Context, name string, d *traffic.Dissection) error {
	place, err := sn.freePlace(name)
	if err != nil {
		return err
	}
	return sn.writeRows(d, func(dir string, names []string) error { return sn.s.publish(ctx, dir, place, sn.ID(), names) })
}

// writeAs stores the files that write writes into a folder and names.
func (sn *Snapshot) writeAs(ctx context.Context, name string, write func(dir string) ([]string, error)) error {
	place, err := sn.freePlace(name)
	if err != nil {
		return err
	}
	dir, drop, err := sn.s.temp()
	if err != nil {
		return err
	}
	defer drop()
	names, err := write(dir)
	if err != nil {
		return err
	}
	return sn.s.publish(ctx, dir, place, sn.ID(), names)
}

// freePlace is where a dissection of a new name goes.
func (sn *Snapshot) freePlace(name string) (string, error) {
	place := sn.dissectionPlace(name)
	if _, err := os.Lstat(place); err == nil {
		return "", fmt.Errorf("it exists already: %w", fs.ErrExist)
	}
	return place, privateDir(filepath.Dir(place))
}

// DeleteDissection deletes a stored dissection. That of an iteration stays.
func (sn *Snapshot) DeleteDissection(name string) error {
	if err := sn.deleteDissection(name); err != nil {
		return fmt.Errorf("delete dissection %s of snapshot %s: %w", name, sn.ID(), err)
	}
	return nil
}

func (sn *Snapshot) deleteDissection(name string) error {
	if err := checkID(name); err != nil {
		return err
	}
	if name == DefaultDissection && sn.Window.Iteration != "" {
		return ErrJudged
	}
	dir, drop, err := sn.s.temp()
	if err != nil {
		return err
	}
	defer drop()
	return os.Rename(sn.dissectionPlace(name), filepath.Join(dir, name))
}

// CallsPath is the Parquet file of the calls.
func (d *Dissection) CallsPath() string { return filepath.Join(d.dir, callsName) }

// ConnectionsPath is the Parquet file of the connections.
func (d *Dissection) ConnectionsPath() string { return filepath.Join(d.dir, connectionsName) }

// Account is what was read, and what could not be.
func (d *Dissection) Account() (a traffic.Account, err error) {
	return a, readJSON(filepath.Join(d.dir, lossName), &a)
}

// Read reads the rows.
func (d *Dissection) Read() (*traffic.Dissection, error) {
	rows, err := &traffic.Dissection{}, error(nil)
	for c, err := range ReadCalls(d.CallsPath()) {
		if err != nil {
			return nil, fmt.Errorf("read dissection %s of snapshot %s: %w", d.Name, d.Snapshot, err)
		}
		rows.Calls = append(rows.Calls, c)
	}
	for c, err := range ReadConnections(d.ConnectionsPath()) {
		if err != nil {
			return nil, fmt.Errorf("read dissection %s of snapshot %s: %w", d.Name, d.Snapshot, err)
		}
		rows.Connections = append(rows.Connections, c)
	}
	if rows.Account, err = d.Account(); err != nil {
		return nil, fmt.Errorf("read dissection %s of snapshot %s: %w", d.Name, d.Snapshot, err)
	}
	return rows, nil
}

// Entries is the number of calls.
func (d *Dissection) Entries() (int64, error) {
	f, err := columns.Open(d.CallsPath())
	if err != nil {
		return 0, fmt.Errorf("count calls: %w", err)
	}
	defer f.Close()
	return f.Rows(), nil
}

// CountProtocols counts the calls of a file that [WriteCalls] wrote by protocol. It reads that column alone.
func CountProtocols(path string) (map[string]uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("count protocols: %w", err)
	}
	defer f.Close()
	type row struct {
		Protocol string `parquet:"proto"`
	}
	r := parquet.NewGenericReader[row](f)
	defer r.Close()
	counts := map[string]uint64{}
	rows := make([]row, batch)
	for {
		n, err := r.Read(rows)
		for i := range n {
			counts[rows[i].Protocol]++
		}
		if err == io.EOF || err == nil && n == 0 {
			return counts, nil
		}
		if err != nil {
			return nil, fmt.Errorf("count protocols of %s: %w", path, err)
		}
	}
}
