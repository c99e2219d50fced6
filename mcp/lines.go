package mcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// maxMessage bounds a message over stdio, in bytes; the library ends the session at more.
const maxMessage = 16_000_000

// lines hands on messages that are JSON, one to a line. To others it answers itself, as JSON-RPC 2.0 asks in section 5.1: the library would
// end the session.
type lines struct {
	in   io.ReadCloser
	from *bufio.Reader
	to   *wholeWrites
	line []byte // what is left of the one at hand
}

func newLines(in io.ReadCloser, to *wholeWrites) *lines {
	return &lines{in: in, from: bufio.NewReader(in), to: to}
}

// Read implements [io.Reader]. It returns bytes of one line at most.
func (l *lines) Read(p []byte) (int, error) {
	for len(l.line) == 0 {
		line, long, err := l.next()
		switch {
		case long:
			err = l.refuse(jsonrpc.CodeInvalidRequest, fmt.Sprintf("the message has more than %d MB", maxMessage/1_000_000))
		case len(bytes.TrimSpace(line)) == 0:
		case json.Valid(line):
			l.line, err = line, nil // what comes next tells the error again
		default:
			if wrong := l.refuse(jsonrpc.CodeParseError, "the message is no JSON, or not on one line"); err == nil {
				err = wrong
			}
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, l.line)
	l.line = l.line[n:]
	return n, nil
}

// Close implements [io.Closer].
func (l *lines) Close() error { return l.in.Close() }

// next reads a line, and says whether it is too long: then it is gone.
func (l *lines) next() (line []byte, long bool, err error) {
	for {
		part, err := l.from.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxMessage; long {
			line = nil
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, long, err
		}
	}
}

// refuse answers a message of which nobody knows the id.
func (l *lines) refuse(code int64, message string) error {
	b, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": nil, "error": map[string]any{"code": code, "message": message}})
	if err == nil {
		_, err = l.to.Write(append(b, '\n'))
	}
	return err
}

// wholeWrites writes one message after the other, whoever writes.
type wholeWrites struct {
	mu  sync.Mutex
	out io.WriteCloser
}

// Write implements [io.Writer].
func (w *wholeWrites) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

// Close implements [io.Closer].
func (w *wholeWrites) Close() error { return w.out.Close() }
