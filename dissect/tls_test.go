package dissect_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/devloop-io/devloop/internal/testenv"
	"github.com/devloop-io/devloop/traffic"
)

// TestTLSForeign reads handshakes of foreign captures.
func TestTLSForeign(t *testing.T) {
	dir := testenv.NeedsFolder(t, "DEVLOOP_PCAPS")
	tests := []struct{ file, want string }{
		{"ecdhe.pcap", "complete  0 sni= 0x303/0x303 0xc014 alpn= resumed=false certs=3 alert="},
		{"hrr.pcap", "complete  0 sni= 0x304/0x304 0x1302 alpn= resumed=false certs=0 alert="},
		{"tls-1.2-handshake-failure.pcap", "complete  40 sni= 0x0/0x303 0x0 alpn= resumed=false certs=0 alert=handshake_failure"},
		{"tls13draft23-chrome67.0.3368.0-canary.pcap", "complete  0 sni=tls13.crypto.mozilla.org 0x7f17/0x7f17 0x1301 alpn=h2 resumed=false certs=0 alert="},
		{"google-duplicate.pcap", "complete  0 sni= 0x303/0x303 0xc02f alpn= resumed=false certs=3 alert="},
	}
	for _, test := range tests {
		calls, _, err := dissectFile(filepath.Join(dir, "zeek/tls", test.file))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range calls {
			if c.Protocol == traffic.ProtoTLS {
				x := c.TLS
				got = fmt.Sprintf("%s %s %d sni=%s %#x/%#x %#x alpn=%s resumed=%v certs=%d alert=%s", c.State, c.Error, c.Status, x.SNI, x.Version, x.OfferedVersion, x.Cipher, x.ALPN, x.Resumed, len(x.Certificates), x.Alert)
				break
			}
		}
		if got != test.want {
			t.Errorf("%s: first handshake\n got %s\nwant %s", test.file, got, test.want)
		}
	}
}
