package dissect

import (
	"bytes"
	"encoding/gob"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// checkpointVersion changes whenever the state's meaning does.
const checkpointVersion = 3

// checkpoint is the state that a window hands to the next.
type checkpoint struct {
	Version     int
	Now         int64
	Serial      uint64
	Connections []*connection // by activity, oldest first
	Fragments   []*partial
	Sightings   []sighting
}

// registerParsers tells gob the state types of the protocols, once.
var registerParsers = sync.OnceFunc(func() {
	for _, p := range protocols {
		gob.Register(p.New())
	}
})

// Checkpoint writes down the state of every open connection. It is taken right after [Dissector.EndWindow].
func (d *Dissector) Checkpoint() ([]byte, error) {
	registerParsers()
	c := checkpoint{Version: checkpointVersion, Now: d.now, Serial: d.serial, Fragments: d.fragmentOrder,
		Sightings: d.sightings.list()}
	for i := range d.lists {
		for k := d.lists[i].first; k != nil; k = k.next {
			c.Connections = append(c.Connections, k)
		}
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("write checkpoint: %w", err)
	}
	if err := gob.NewEncoder(z).Encode(&c); err != nil {
		return nil, fmt.Errorf("write checkpoint of %d connections: %w", len(c.Connections), err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("write checkpoint: %w", err)
	}
	return out.Bytes(), nil
}

// Restore makes a Dissector that goes on where a checkpoint was taken.
func Restore(o Options, data []byte) (*Dissector, error) {
	registerParsers()
	d := New(o)
	z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	defer z.Close()
	var c checkpoint
	if err := gob.NewDecoder(z).Decode(&c); err != nil {
		return nil, fmt.Errorf("read checkpoint of %d bytes: %w", len(data), err)
	}
	if c.Version != checkpointVersion {
		return nil, fmt.Errorf("read checkpoint: version %d, this build knows %d", c.Version, checkpointVersion)
	}
	d.now, d.serial = c.Now, c.Serial
	for _, k := range c.Connections {
		d.conns[k.Key] = k
		if k.Names.Joined {
			d.conns[k.Names.Other] = k
		}
		k.listed = listOf(k)
		d.lists[k.listed].push(k)
		for i := range k.Dir {
			x := &k.Dir[i]
			d.total += len(x.Buf) + x.PendingBytes
		}
		d.adopt(k)
		if k.Deadline != 0 {
			d.timers.push(timer{k.Deadline, k})
		}
	}
	for _, x := range c.Sightings {
		d.sightings.add(x)
	}
	for _, p := range c.Fragments {
		d.fragments[p.Key] = p
		d.fragmentOrder = append(d.fragmentOrder, p)
	}
	return d, nil
}
