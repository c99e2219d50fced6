//go:build linux

package e2e

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/devloop-io/devloop/capture/pcapfile"
	"github.com/devloop-io/devloop/devloop"
	"github.com/devloop-io/devloop/dissect"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/store"
	"github.com/devloop-io/devloop/traffic"
)

// continuous dissects the whole ring from its first packet and returns the rows of one snapshot's window.
func continuous(t *testing.T, st *store.Store, sn *store.Snapshot) *traffic.Dissection {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(st.RingDir(), "*.pcapng"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(segments)
	window := sn.Window.Segments
	out := &traffic.Dissection{}
	collecting := false
	o := devloop.DissectOptions()
	o.OnCall = func(c *traffic.Call) {
		if collecting {
			out.Calls = append(out.Calls, c)
		}
	}
	o.OnConnection = func(c *traffic.Connection) {
		if collecting {
			out.Connections = append(out.Connections, c)
		}
	}
	o.Resolve = store.Resolver(sn.Identities)
	o.Secrets = new(tls.Secrets) // each snapshot keeps those of its connections
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(sn.Dir()), "*", "secrets.keylog"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no snapshot has the secrets of its TLS connections: %v", err)
	}
	for _, path := range logs {
		lines, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o.Secrets.Add(lines)
	}
	d := dissect.New(o)
	number := uint64(0)
	for _, path := range segments {
		if same(t, path, filepath.Join(sn.Dir(), window[0])) {
			d.EndWindow()
			collecting, number = true, 0
		}
		feed(t, d, path, &number)
		if same(t, path, filepath.Join(sn.Dir(), window[len(window)-1])) {
			out.Account = d.EndWindow()
			break
		}
	}
	store.Finish(out, st.Redactor())
	return out
}

// same reports whether two names are one file: sealing links segments.
func same(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.Stat(b)
	if err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

func feed(t *testing.T, d *dissect.Dissector, path string, number *uint64) {
	t.Helper()
	r, err := pcapfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var p traffic.Packet
	for {
		err := r.Next(&p)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		*number++
		p.Number = *number
		d.Packet(&p, r.Interface(p.Interface))
	}
}
