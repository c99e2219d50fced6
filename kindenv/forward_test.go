package kindenv

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/util/httpstream"
)

// silent is a connection that answers nothing, as one does that ended while it was asked.
type silent struct {
	gone   chan bool
	closed bool
}

func (s *silent) CreateStream(http.Header) (httpstream.Stream, error) {
	time.Sleep(30 * time.Second) // as the library, of the bubble's own time
	return nil, errors.New("timed out")
}

func (s *silent) Close() error                       { s.closed = true; return nil }
func (s *silent) CloseChan() <-chan bool             { return s.gone }
func (s *silent) SetIdleTimeout(time.Duration)       {}
func (s *silent) RemoveStreams(...httpstream.Stream) {}

// TestStreamOfAConnectionThatEnds: who asks for a stream hears at once that its connection ended, and soon that nobody
// answers. Both are given up, so that the next one has a connection of its own.
func TestStreamOfAConnectionThatEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ends time.Duration // 0: it does not
		most time.Duration
	}{{"ends", time.Second, time.Second}, {"is silent", 0, streamBound}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := &silent{gone: make(chan bool)}
				f := &forward{find: func() string { return "p" }, conn: conn, pod: "p"}
				if c.ends > 0 {
					time.AfterFunc(c.ends, func() { close(conn.gone) })
				}
				began := time.Now()
				_, err := f.stream(conn, "data", 1)
				if took := time.Since(began); !errors.Is(err, errBroken) || took > c.most {
					t.Errorf("after %s: %v", took, err)
				}
				if !conn.closed || f.conn != nil {
					t.Error("the connection is used again")
				}
				time.Sleep(time.Minute) // the library's goroutine ends
			})
		})
	}
}
