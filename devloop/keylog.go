package devloop

import (
	"bytes"
	"io"
	"os"
	"sync"

	"github.com/devloop-io/devloop/dissect/tls"
)

const (
	maxKeyRead  = 16 << 20  // of a key log at a time, and in a snapshot
	maxKeyLog   = 64 << 20  // on disk: then it begins anew
	keyLogSlack = 256 << 10 // before a window, for handshakes that were under way when it opened
)

// keyLogged is an environment whose services write the secrets of their TLS connections to a file.
type keyLogged interface {
	KeyLog() string
}

// keyLog follows that file. It is safe for concurrent use; one without a path stays empty.
type keyLog struct {
	path    string
	secrets *tls.Secrets

	mu   sync.Mutex
	read int64 // of the file
}

func newKeyLog(env environment) *keyLog {
	k := &keyLog{secrets: new(tls.Secrets)}
	if e, ok := env.(keyLogged); ok {
		k.path = e.KeyLog()
	}
	return k
}

// refresh takes over what was written since. A line that is not whole yet waits. Of a file that cannot be read there are no
// secrets: what they would open stays encrypted, and is counted.
func (k *keyLog) refresh() {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := k.from(&k.read)
	if k.secrets.Add(b); len(b) > 0 && k.read > maxKeyLog {
		_ = os.Truncate(k.path, 0) // writers append
		k.read = 0
	}
}

// at is how far the file was read.
func (k *keyLog) at() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.read
}

// since is the whole lines from about a place on.
func (k *keyLog) since(at int64) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	at = max(0, at-keyLogSlack)
	cut := at > 0
	b := k.from(&at)
	if cut {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return b
}

// from reads whole lines from a place on, and moves it behind them.
func (k *keyLog) from(at *int64) []byte {
	if k.path == "" {
		return nil
	}
	f, err := os.Open(k.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	} else if info.Size() < *at { // it began anew
		*at = 0
	}
	b, err := io.ReadAll(io.NewSectionReader(f, *at, maxKeyRead))
	if err != nil {
		return nil
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	*at += int64(len(b))
	return b
}
