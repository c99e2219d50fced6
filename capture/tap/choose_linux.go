//go:build amd64 || arm64

package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
)

// chooseFirst sets the choices that the tap is opened with.
func (t *Tap) chooseFirst() error {
	if t.o.Choices == nil {
		return nil
	}
	return t.Choose(*t.o.Choices)
}

// Choose changes what is recorded, also while Run is running. Packets that pass meanwhile go by the old or by the new
// choices. Connections whose other end was recorded so far are then recorded whole at this end, as that may change.
func (t *Tap) Choose(c Choices) error {
	if t.o.Choices == nil {
		return errors.New("choose what to record: the tap was opened to record everything")
	}
	if len(c.CGroups) > MaxChoices || len(c.Ports) > MaxPorts {
		return fmt.Errorf("choose what to record: %d cgroups and %d ports are more than %d and %d", len(c.CGroups), len(c.Ports), MaxChoices, MaxPorts)
	}
	t.choosing.Lock()
	defer t.choosing.Unlock()
	ports := map[uint16]uint8{}
	for _, p := range c.Ports {
		ports[binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, p))] = 1
	}
	choicesChanged, err := replace(t.objects.Maps[programMapChoices], t.chosen.cgroups, c.CGroups)
	if err != nil {
		return fmt.Errorf("choose cgroups to record: %w", err)
	}
	portsChanged, err := replace(t.objects.Maps[programMapPorts], t.chosen.ports, ports)
	if err != nil {
		return fmt.Errorf("choose ports to record: %w", err)
	}
	t.chosen.cgroups, t.chosen.ports = maps.Clone(c.CGroups), ports
	if !choicesChanged && !portsChanged {
		return nil
	}
	if err := t.objects.Variables[programVarSomePorts].Set(uint32(min(len(ports), 1))); err != nil {
		return fmt.Errorf("choose ports to record: %w", err)
	}
	return t.forget()
}

// forget makes the program look again at what it concluded from older choices. Whether a sender's record has the payload
// is asked of the openings, which are emptied between two generations: what is found there afterwards is of the last one.
func (t *Tap) forget() error {
	for _, step := range []func() error{t.nextGeneration, t.emptyOpenings, t.nextGeneration} {
		if err := step(); err != nil {
			return fmt.Errorf("forget older choices: %w", err)
		}
	}
	return nil
}

func (t *Tap) nextGeneration() error {
	t.chosen.generation++
	return t.objects.Variables[programVarGeneration].Set(t.chosen.generation & (1<<30 - 1)) // two bits are the peer's
}

func (t *Tap) emptyOpenings() error {
	m := t.objects.Maps[programMapOpenings]
	var keys []programFlow
	var key programFlow
	var seq uint32
	for it := m.Iterate(); it.Next(&key, &seq); {
		keys = append(keys, key)
	}
	for _, key := range keys {
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

// replace puts new entries into a map and takes the others out, and says whether there was anything to do.
func replace[K, V comparable](m *ebpf.Map, old, now map[K]V) (changed bool, err error) {
	for k, v := range now {
		if was, ok := old[k]; ok && was == v {
			continue
		}
		changed = true
		if err := m.Put(k, v); err != nil {
			return true, err
		}
	}
	for k := range old {
		if _, ok := now[k]; ok {
			continue
		}
		changed = true
		if err := m.Delete(k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return true, err
		}
	}
	return changed, nil
}

// process is the name of a process that made a socket, as far as the program noted it.
func (t *Tap) process(pid uint32) string {
	if pid == 0 || t.o.Choices == nil {
		return ""
	}
	var comm [16]byte
	if t.objects.Maps[programMapProcesses].Lookup(pid, &comm) != nil {
		return ""
	}
	name, _, _ := bytes.Cut(comm[:], []byte{0})
	return string(name)
}
