// Package keylog lets a Go program write the secrets of its TLS connections to the file that SSLKEYLOGFILE names, as curl
// and programs with OpenSSL do by themselves. devloop sets the variable for the services that it starts, and reads what lies
// behind TLS with it. Without the variable nothing is written.
package keylog

import (
	"io"
	"os"
	"sync"
)

// Variable names the file.
const Variable = "SSLKEYLOGFILE"

var opened = sync.OnceValue(func() io.Writer {
	path := os.Getenv(Variable)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil
	}
	return f
})

// Writer is what belongs into [crypto/tls.Config.KeyLogWriter]: the file that SSLKEYLOGFILE names, opened once, to append.
// It is nil where the variable is not set, and where the file cannot be opened: a program must not fail for being watched.
func Writer() io.Writer { return opened() }
