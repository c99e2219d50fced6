//go:build amd64 || arm64

package detour

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
)

// Detour is one, on any number of cgroups. Its methods must not be called at the same time.
type Detour struct {
	way     Way
	objects *ebpf.Collection
	links   map[string][]link.Link // by cgroup
}

// hooks are where the programs of a way belong.
var hooks = map[Way]map[string]ebpf.AttachType{
	Turn: {
		programProgDetourConnect4: ebpf.AttachCGroupInet4Connect, programProgDetourConnect6: ebpf.AttachCGroupInet6Connect,
		programProgDetourPeer4: ebpf.AttachCgroupInet4GetPeername, programProgDetourPeer6: ebpf.AttachCgroupInet6GetPeername,
	},
	Lose: {
		programProgDetourIngress: ebpf.AttachCGroupInetIngress, programProgDetourEgress: ebpf.AttachCGroupInetEgress,
	},
}

// Open loads the programs. rate is the share of the connections, or of the packets, that they meet: 1 is all.
func Open(way Way, rate float64) (*Detour, error) {
	_ = rlimit.RemoveMemlock() // needed before 5.11 only
	spec, err := loadProgram()
	if err != nil {
		return nil, fmt.Errorf("load a detour: %w", err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { _, ok := hooks[way][name]; return !ok })
	if err := spec.Variables[programVarRate].Set(uint32(min(max(rate, 0), 1) * math.MaxUint32)); err != nil {
		return nil, fmt.Errorf("load a detour: %w", err)
	}
	d := &Detour{way: way, links: map[string][]link.Link{}}
	if d.objects, err = ebpf.NewCollection(spec); err != nil {
		return nil, fmt.Errorf("load a detour: the kernel refuses: it takes the capabilities bpf, net_admin and perfmon: %w", err)
	}
	return d, nil
}

// To adds a destination, and where its connections go instead. For packets that are lost the second is of no meaning.
func (d *Detour) To(destination, instead netip.AddrPort) error {
	from, ok := endOf(destination)
	if !ok {
		return fmt.Errorf("turn connections to %s: it is no IPv4 address", destination)
	}
	to, _ := endOf(instead)
	if err := d.objects.Maps[programMapTurns].Put(from, to); err != nil {
		return fmt.Errorf("turn connections to %s: %w", destination, err)
	}
	return nil
}

func endOf(a netip.AddrPort) (e programEnd, ok bool) {
	if !a.Addr().Unmap().Is4() {
		return e, false
	}
	ip := a.Addr().Unmap().As4()
	e.Addr = binary.NativeEndian.Uint32(ip[:])
	e.Port = binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, a.Port()))
	return e, true
}

// Over says for which cgroups, by their folders, the detour is: it is put over those that are new, and taken from those that
// are not named any more.
func (d *Detour) Over(cgroups []string) error {
	var errs []error
	for path := range d.links {
		if !slices.Contains(cgroups, path) {
			errs = append(errs, d.take(path))
		}
	}
	for _, path := range cgroups {
		if _, ok := d.links[path]; !ok {
			errs = append(errs, d.put(path))
		}
	}
	return errors.Join(errs...)
}

func (d *Detour) put(path string) error {
	d.links[path] = nil
	for _, name := range slices.Sorted(maps.Keys(hooks[d.way])) {
		l, err := link.AttachCgroup(link.CgroupOptions{Path: path, Attach: hooks[d.way][name], Program: d.objects.Programs[name]})
		if err != nil {
			return errors.Join(fmt.Errorf("attach %s to cgroup %s: %w", name, path, err), d.take(path))
		}
		d.links[path] = append(d.links[path], l)
	}
	return nil
}

func (d *Detour) take(path string) error {
	var errs []error
	for _, l := range d.links[path] {
		errs = append(errs, l.Close())
	}
	delete(d.links, path)
	return errors.Join(errs...)
}

// Close takes the detour away, and asks the kernel whether it is gone.
func (d *Detour) Close() error {
	var errs []error
	for _, path := range slices.Collect(maps.Keys(d.links)) {
		errs = append(errs, d.take(path), d.gone(path))
	}
	d.objects.Close()
	return errors.Join(errs...)
}

// gone asks for the programs of a cgroup. One whose cgroup is gone is gone as well.
func (d *Detour) gone(path string) error {
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the programs of a cgroup: %w", err)
	}
	defer folder.Close()
	for name, hook := range hooks[d.way] {
		info, err := d.objects.Programs[name].Info()
		if err != nil {
			return fmt.Errorf("look at %s: %w", name, err)
		}
		id, _ := info.ID()
		there, err := link.QueryPrograms(link.QueryOptions{Target: int(folder.Fd()), Attach: hook})
		if err != nil {
			return fmt.Errorf("look at the programs of cgroup %s: %w", path, err)
		}
		if slices.ContainsFunc(there.Programs, func(p link.AttachedProgram) bool { return p.ID == id }) {
			return fmt.Errorf("%s is still attached to cgroup %s", name, path)
		}
	}
	return nil
}
