package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

// Version of the form that this code writes and reads.
const Version = 1

// The members of a bundle. Check files and contracts are numbered; the verdict's window says what they are called.
const (
	manifestName = "manifest.json"
	VerdictName  = "verdict.json"   // traffic.Iteration
	RowsName     = "rows.json"      // traffic.Dissection, redacted
	WindowName   = "window.json"    // Window
	BaselineName = "baseline.yaml"  // only where checks could ask for one
	PacketsName  = "packets.pcapng" // secrets masked at equal length
)

// CheckName is the member of a check file, from 0.
func CheckName(i int) string { return fmt.Sprintf("checks/%03d.netcheck.yaml", i) }

// ContractName is the member of a file that checks read, from 0.
func ContractName(i int) string { return fmt.Sprintf(contractFolder+"%03d", i) }

const contractFolder = "contracts/"

// What a bundle holds at most: beyond that it is not written, and not read.
const (
	mostChecks   = 200
	mostContract = 200       // files that checks read
	mostContent  = 8 << 20   // bytes of one of these
	mostTogether = 32 << 20  // of all of them: they are read into memory
	mostText     = 4 << 20   // bytes of a check file, of the baseline, of the window
	mostVerdict  = 64 << 20  //
	mostRows     = 512 << 20 //
	mostPackets  = 2 << 30   //
	mostManifest = 1 << 20   //
)

// Window is what judging needs beyond rows and checks.
type Window struct {
	Start      int64              `json:"start_ns"`
	End        int64              `json:"end_ns"`
	Exercise   string             `json:"exercise,omitempty"`
	Identities []traffic.Identity `json:"identities,omitempty"`
	Files      []string           `json:"files,omitempty"` // what the check files are called in their workspace
	Baseline   string             `json:"baseline,omitempty"`
	Contracts  []string           `json:"contracts,omitempty"` // paths in the workspace of the files that checks read
}

// manifest is the first member.
type manifest struct {
	Version int    `json:"version"`
	Tool    string `json:"tool"` // that wrote it, with its version
	Files   []file `json:"files"`
}

// bounded refuses files that are small each, and large together.
func (m *manifest) bounded() error {
	var sum int64
	for _, f := range m.Files {
		if strings.HasPrefix(f.Name, contractFolder) {
			sum += f.Size
		}
		if sum > mostTogether {
			return fmt.Errorf("the files that its checks read are larger than %d MiB together", mostTogether>>20)
		}
	}
	return nil
}

type file struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// limit is how large a member may be, 0 for one that bundles do not have.
func limit(name string) int64 {
	switch name {
	case VerdictName:
		return mostVerdict
	case RowsName:
		return mostRows
	case PacketsName:
		return mostPackets
	case WindowName, BaselineName:
		return mostText
	}
	for i := range mostChecks {
		if name == CheckName(i) {
			return mostText
		}
	}
	for i := range mostContract {
		if name == ContractName(i) {
			return mostContent
		}
	}
	return 0
}

// Member is one part of a bundle to write.
type Member struct {
	Name  string
	Write func(io.Writer) error // is called twice and writes the same: the digests stand in front
}

// JSON is a member that holds a value.
func JSON(name string, v any) (Member, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return Member{}, fmt.Errorf("write %s: %w", name, err)
	}
	return Bytes(name, b), nil
}

// Bytes is a member that holds bytes.
func Bytes(name string, b []byte) Member {
	return Member{name, func(w io.Writer) error { _, err := w.Write(b); return err }}
}

// Write writes a bundle.
func Write(w io.Writer, tool string, members []Member) error {
	m := manifest{Version: Version, Tool: tool}
	for _, x := range members {
		most := limit(x.Name)
		if most == 0 {
			return fmt.Errorf("write a bundle: it has no member %q", x.Name)
		}
		h := sha256.New()
		counted := &counter{w: h}
		if err := x.Write(counted); err != nil {
			return fmt.Errorf("write %s of a bundle: %w", x.Name, err)
		}
		if counted.n > most {
			return fmt.Errorf("write a bundle: %s would be larger than %d MiB", x.Name, most>>20)
		}
		m.Files = append(m.Files, file{x.Name, counted.n, hex.EncodeToString(h.Sum(nil))})
	}
	if err := m.bounded(); err != nil {
		return fmt.Errorf("write a bundle: %w", err)
	}
	head, err := JSON(manifestName, m)
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	for _, x := range append([]Member{head}, members...) {
		out, err := z.Create(x.Name)
		if err != nil {
			return fmt.Errorf("write %s of a bundle: %w", x.Name, err)
		}
		if err := x.Write(out); err != nil {
			return fmt.Errorf("write %s of a bundle: %w", x.Name, err)
		}
	}
	return z.Close()
}

type counter struct {
	w io.Writer
	n int64
}

// Write passes on.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// Bundle is one that was opened and whose digests hold.
type Bundle struct {
	Tool    string
	members map[string]*zip.File
	sizes   map[string]int64
}

// Open reads a bundle's directory and manifest, and digests every member.
func Open(r io.ReaderAt, size int64) (*Bundle, error) {
	b, err := open(r, size)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	return b, nil
}

func open(r io.ReaderAt, size int64) (*Bundle, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("it is no ZIP file: %w", err)
	}
	b := &Bundle{members: map[string]*zip.File{}, sizes: map[string]int64{}}
	for _, f := range z.File {
		if f.Name != manifestName && limit(f.Name) == 0 {
			return nil, fmt.Errorf("it has a member %q, and bundles have none of that name", f.Name)
		}
		if b.members[f.Name] != nil {
			return nil, fmt.Errorf("it has %s twice", f.Name)
		}
		b.members[f.Name] = f
	}
	m, err := b.manifest()
	if err != nil {
		return nil, err
	}
	b.Tool = m.Tool
	for _, f := range m.Files {
		if err := b.verify(f); err != nil {
			return nil, err
		}
	}
	if len(b.sizes) != len(b.members)-1 {
		return nil, errors.New("it has members that its manifest does not list")
	}
	for _, name := range []string{VerdictName, RowsName, WindowName} {
		if _, ok := b.sizes[name]; !ok {
			return nil, fmt.Errorf("it has no %s", name)
		}
	}
	return b, nil
}

func (b *Bundle) manifest() (*manifest, error) {
	f := b.members[manifestName]
	if f == nil {
		return nil, errors.New("it has no " + manifestName)
	}
	data, err := readAll(f, mostManifest)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", manifestName, err)
	}
	if m.Version != Version {
		return nil, fmt.Errorf("it is of version %d, and this devloop reads version %d", m.Version, Version)
	}
	return &m, m.bounded()
}

// verify digests a member, and never reads more of it than the manifest says.
func (b *Bundle) verify(f file) error {
	member := b.members[f.Name]
	_, twice := b.sizes[f.Name]
	switch {
	case member == nil || f.Name == manifestName:
		return fmt.Errorf("%q is listed, and not there", f.Name)
	case twice:
		return fmt.Errorf("%s is listed twice", f.Name)
	case f.Size < 0 || f.Size > limit(f.Name):
		return fmt.Errorf("%s is larger than %d MiB", f.Name, limit(f.Name)>>20)
	}
	in, err := member.Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(in, f.Size+1))
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", f.Name, err)
	case n != f.Size:
		return fmt.Errorf("%s is not of the size that is listed", f.Name)
	case hex.EncodeToString(h.Sum(nil)) != f.SHA256:
		return fmt.Errorf("%s was changed: its SHA-256 is another than is listed", f.Name)
	}
	b.sizes[f.Name] = f.Size
	return nil
}

func readAll(f *zip.File, most int64) ([]byte, error) {
	in, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%s is larger than %d MiB", f.Name, most>>20)
	}
	return data, nil
}

// Has reports whether a member is there.
func (b *Bundle) Has(name string) bool { _, ok := b.sizes[name]; return ok }

// Bytes reads a member whole.
func (b *Bundle) Bytes(name string) ([]byte, error) {
	if !b.Has(name) {
		return nil, fmt.Errorf("the bundle has no %s", name)
	}
	return readAll(b.members[name], b.sizes[name])
}

// Into decodes a member that is JSON.
func (b *Bundle) Into(name string, v any) error {
	data, err := b.Bytes(name)
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(v); err != nil {
		return fmt.Errorf("read %s of the bundle: %w", name, err)
	}
	return nil
}

// Copy writes a member out.
func (b *Bundle) Copy(w io.Writer, name string) error {
	if !b.Has(name) {
		return fmt.Errorf("the bundle has no %s", name)
	}
	in, err := b.members[name].Open()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	defer in.Close()
	_, err = io.Copy(w, io.LimitReader(in, b.sizes[name]))
	return err
}

// Checks are the names of the check files that are there, in their order.
func (b *Bundle) Checks() []string { return b.numbered(mostChecks, CheckName) }

// Contracts are the names of the files that checks read, in their order.
func (b *Bundle) Contracts() []string { return b.numbered(mostContract, ContractName) }

func (b *Bundle) numbered(most int, called func(int) string) []string {
	var names []string
	for i := range most {
		if name := called(i); b.Has(name) {
			names = append(names, name)
		}
	}
	return names
}
