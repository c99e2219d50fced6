package lsp

import (
	"bytes"
	"io"

	"github.com/creachadair/jrpc2/channel"
)

// stream is a client's messages until the session is done. [jrpc2.Server.Stop] cannot end it: it panics when a message comes afterwards, and
// waits for a client that leaves its end open.
type stream struct {
	channel.Channel
	done <-chan struct{}
	in   chan message
}

type message struct {
	bytes []byte
	err   error
}

// newStream begins to read. What reads ends with the client's end, which may be after the session's.
func newStream(c channel.Channel, done <-chan struct{}) *stream {
	s := &stream{Channel: c, done: done, in: make(chan message)}
	go func() {
		for {
			b, err := c.Recv()
			m := message{bytes.Clone(b), err} // the channel's own is overwritten by the next
			select {
			case s.in <- m:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// Recv is the next message, or [io.EOF] once the session is done.
func (s *stream) Recv() ([]byte, error) {
	select {
	case <-s.done:
		return nil, io.EOF
	case m := <-s.in:
		return m.bytes, m.err
	}
}
