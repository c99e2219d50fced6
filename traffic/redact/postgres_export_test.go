package redact_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
	"github.com/devloop-io/devloop/traffic/redact"
)

const postgresCapture = "../../dissect/testdata/postgresql/input.pcapng"

// maskFile writes a masked copy of a capture.
func maskFile(t *testing.T, path string) []byte {
	t.Helper()
	streams := redact.New([]byte("0123456789abcdef0123456789abcdef"), redact.Options{}).Streams()
	each := func(do func(*pcapfile.Reader, *traffic.Packet)) {
		r, err := pcapfile.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		r.Finish()
		for {
			var p traffic.Packet
			if err := r.Next(&p); errors.Is(err, io.EOF) {
				return
			} else if err != nil {
				t.Fatal(err)
			}
			do(r, &p)
		}
	}
	each(func(_ *pcapfile.Reader, p *traffic.Packet) { streams.Learn(p.Data, p.Link) })
	streams.Done()
	var out bytes.Buffer
	w := pcapfile.NewWriter(&out, pcapfile.Header{Application: "devloop"})
	index := map[int]int{}
	each(func(r *pcapfile.Reader, p *traffic.Packet) {
		streams.Mask(p.Data, p.Link)
		i, ok := index[p.Interface]
		if !ok {
			i = w.AddInterface(r.Interface(p.Interface))
			index[p.Interface] = i
		}
		if err := w.Write(p, i); err != nil {
			t.Fatal(err)
		}
	})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestPostgresCapture masks a real server's conversations: no proof is left.
func TestPostgresCapture(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(postgresCapture)
	if err != nil {
		t.Fatal(err)
	}
	proofs := regexp.MustCompile(`c=biws,r=[^,]+,p=[A-Za-z0-9+/]{43}=|n,,n=[^,]*,r=[!-~]{24}`).FindAll(raw, -1)
	if len(proofs) < 2 {
		t.Fatalf("the capture has %d authentication messages", len(proofs))
	}
	out := maskFile(t, postgresCapture)
	for _, p := range proofs {
		if bytes.Contains(out, p) {
			t.Errorf("kept %q", p)
		}
	}
	if !bytes.Contains(out, []byte("SCRAM-SHA-256\x00\x00\x00\x00\x20****")) {
		t.Error("the mechanism's name is gone")
	}
}

// TestPostgresTshark compares what tshark makes of the messages before and after.
func TestPostgresTshark(t *testing.T) {
	t.Parallel()
	tshark := testenv.NeedsProgram(t, "tshark")
	path := filepath.Join(t.TempDir(), "masked.pcapng")
	if err := os.WriteFile(path, maskFile(t, postgresCapture), 0o600); err != nil {
		t.Fatal(err)
	}
	messages := func(path string) string {
		out, err := exec.CommandContext(t.Context(), tshark, "-r", path, "-Y", "pgsql", "-T", "fields", "-e", "frame.number", "-e", "pgsql.type",
			"-e", "pgsql.length", "-e", "pgsql.auth.sasl.mech", "-e", "_ws.malformed").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before, after := messages(postgresCapture), messages(path)
	if before != after || !strings.Contains(before, "SASLResponse") {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}
