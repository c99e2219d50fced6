package pcapfile_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/traffic"
)

// TestSecrets writes a key log before the packets and another behind them, and reads both.
func TestSecrets(t *testing.T) {
	const early, late = "CLIENT_RANDOM aa bb\n", "SERVER_TRAFFIC_SECRET_0 cc dd"
	var b bytes.Buffer
	w := pcapfile.NewWriter(&b, pcapfile.Header{Application: "test", Secrets: []byte(early)})
	i := w.AddInterface(&traffic.Interface{Name: "lo", Link: traffic.LinkRaw})
	if err := w.Write(&traffic.Packet{Time: 1, Data: []byte{0x45}, Length: 1}, i); err != nil {
		t.Fatal(err)
	}
	w.Secrets([]byte(late))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	r := pcapfile.NewReader(bytes.NewReader(b.Bytes()))
	r.Finish()
	var p traffic.Packet
	if err := r.Next(&p); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Secrets()); got != early {
		t.Errorf("secrets before the first packet are %q", got)
	}
	if err := r.Next(&p); err != io.EOF {
		t.Fatalf("after the packet: %v", err)
	}
	if got := string(r.Secrets()); got != early+late+"\n" {
		t.Errorf("secrets of the file read through are %q", got)
	}
	path := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := pcapfile.Secrets(path)
	if err != nil || string(got) != early+late+"\n" {
		t.Errorf("secrets of the file are %q, %v", got, err)
	}
}
