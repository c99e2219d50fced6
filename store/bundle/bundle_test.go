package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"io"
	"strings"
	"testing"
)

func small(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, "devloop test", []Member{
		Bytes(VerdictName, []byte(`{"id":"i1"}`)), Bytes(RowsName, []byte(`{"calls":[]}`)), Bytes(WindowName, []byte(`{}`)), Bytes(CheckName(0), []byte("checks: []\n")),
		Bytes(ContractName(0), []byte("openapi: 3.0.0\n")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func opened(data []byte) (*Bundle, error) { return Open(bytes.NewReader(data), int64(len(data))) }

func TestWrittenIsRead(t *testing.T) {
	b, err := opened(small(t))
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ ID string }
	if err := b.Into(VerdictName, &v); err != nil || v.ID != "i1" {
		t.Errorf("%+v, %v", v, err)
	}
	if got := b.Contracts(); len(got) != 1 {
		t.Errorf("%q", got)
	}
	if got := b.Checks(); len(got) != 1 || b.Has(PacketsName) || b.Tool != "devloop test" {
		t.Errorf("%q, %+v", got, b)
	}
	var out bytes.Buffer
	if err := b.Copy(&out, CheckName(0)); err != nil || out.String() != "checks: []\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// crafted is a ZIP file of any members, with a manifest that lists them as asked.
func crafted(t testing.TB, members [][2]string, list func([]file) []file) []byte {
	t.Helper()
	m := manifest{Version: Version}
	for _, x := range members {
		sum := sha256.Sum256([]byte(x[1]))
		m.Files = append(m.Files, file{x[0], int64(len(x[1])), hex.EncodeToString(sum[:])})
	}
	if list != nil {
		m.Files = list(m.Files)
	}
	head, _ := json.Marshal(m)
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, x := range append([][2]string{{manifestName, string(head)}}, members...) {
		w, err := z.Create(x[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, x[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Each hostile file is refused with a sentence.
func TestHostile(t *testing.T) {
	good := [][2]string{{VerdictName, "{}"}, {RowsName, "{}"}, {WindowName, "{}"}}
	with := func(more ...[2]string) [][2]string { return append(append([][2]string{}, good...), more...) }
	whole := small(t)
	var contracts [][2]string
	for i := range mostTogether/mostContent + 1 {
		contracts = append(contracts, [2]string{ContractName(i), strings.Repeat("a", mostContent)})
	}
	for _, tt := range []struct {
		name string
		data []byte
		says string
	}{
		{"no ZIP", []byte("hello"), "no ZIP"},
		{"cut off", whole[:len(whole)-30], "no ZIP"},
		{"a path that climbs", crafted(t, with([2]string{"../../etc/passwd", "x"}), nil), "none of that name"},
		{"an absolute path", crafted(t, with([2]string{"/etc/passwd", "x"}), nil), "none of that name"},
		{"a path that climbs below checks", crafted(t, with([2]string{"checks/../../x.netcheck.yaml", "x"}), nil), "none of that name"},
		{"twice", crafted(t, with(good[0]), nil), "twice"},
		{"listed twice", crafted(t, good, func(f []file) []file { return append(f, f[0]) }), "listed twice"},
		{"not listed", crafted(t, with([2]string{CheckName(0), "x"}), func(f []file) []file { return f[:3] }), "does not list"},
		{"listed and not there", crafted(t, good, func(f []file) []file { return append(f, file{Name: BaselineName}) }), "not there"},
		{"another digest", crafted(t, good, func(f []file) []file { f[1].SHA256 = strings.Repeat("0", 64); return f }), "was changed"},
		{"larger than it says", crafted(t, with([2]string{CheckName(0), strings.Repeat("a", 5000)}), func(f []file) []file { f[3].Size = 10; return f }), "not of the size"},
		{"larger than it says, and not read to its end", bytes.ReplaceAll(crafted(t, with([2]string{CheckName(0), strings.Repeat("a", 5000)}), func(f []file) []file { f[3].Size = 10; return f }),
			binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(strings.Repeat("a", 5000)))), []byte("none")), "not of the size"},
		{"a bomb", crafted(t, with([2]string{CheckName(0), strings.Repeat("a", mostText+1)}), nil), "larger than 4 MiB"},
		{"a contract that climbs", crafted(t, with([2]string{"contracts/../x", "x"}), nil), "none of that name"},
		{"one contract too many", crafted(t, with([2]string{ContractName(mostContract), "x"}), nil), "none of that name"},
		{"contracts that are a bomb together", crafted(t, with(contracts...), nil), "larger than 32 MiB together"},
		{"a manifest that is a bomb", crafted(t, good, func(f []file) []file { f[0].SHA256 = strings.Repeat("0", mostManifest); return f }), "larger than 1 MiB"},
		{"rows are missing", crafted(t, good[:1], nil), "it has no rows.json"},
		{"no manifest", func() []byte {
			var b bytes.Buffer
			z := zip.NewWriter(&b)
			_ = z.Close()
			return b.Bytes()
		}(), "it has no manifest.json"},
	} {
		if _, err := opened(tt.data); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.says)
		}
	}
	if err := Write(io.Discard, "", []Member{Bytes("../x", nil)}); err == nil {
		t.Error("a member of another name was written")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(small(f))
	f.Add(crafted(f, [][2]string{{VerdictName, "{}"}, {RowsName, "{}"}, {WindowName, "{}"}, {"../x", "y"}}, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := opened(data)
		if err != nil {
			return
		}
		for _, name := range append(append(b.Checks(), b.Contracts()...), VerdictName, RowsName, WindowName) {
			if _, err := b.Bytes(name); err != nil {
				t.Errorf("%s was verified and cannot be read: %v", name, err)
			}
		}
	})
}
