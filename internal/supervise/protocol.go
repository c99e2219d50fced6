package supervise

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

// DefaultDir is where the supervisor's folder is mounted.
const DefaultDir = "/devloop"

// Bounds of what a push may carry.
const (
	MaxProgram = 1 << 30
	maxHeader  = 1 << 20
)

// Switch asks for a program to be started in place of the running one. On the standard input of push it is one line of
// JSON, followed by Size bytes of the program.
type Switch struct {
	Build string            `json:"build"` // what devloop calls it
	Sum   string            `json:"sum"`   // SHA-256 of the program, hex
	Size  int64             `json:"size"`  // 0: a program with this sum is there
	Name  string            `json:"name"`  // of the program's file, and so of the process
	Args  []string          `json:"args,omitempty"`
	Env   map[string]string `json:"env,omitempty"` // on top of the container's
	Dir   string            `json:"dir,omitempty"` // working directory; the container's by default
	Ready Ready             `json:"ready"`
}

// Ready says when the program takes requests. Without a port it does at once.
type Ready struct {
	TCP     []int         `json:"tcp,omitempty"` // ports that must accept a connection
	Port    int           `json:"port,omitempty"`
	Path    string        `json:"path,omitempty"` // GET of it on Port must answer 2xx or 3xx
	Timeout time.Duration `json:"timeout_ns,omitempty"`
}

// DefaultReady is how long a program may take to become ready unless Ready says otherwise.
const DefaultReady = 30 * time.Second

// Phases of an Event, in the order of a switch. Missing answers a switch whose program has to be sent first.
const (
	PhaseMissing = "missing" // no program with this sum is here
	PhaseWaiting = "waiting" // nothing was pushed yet
	PhaseStopped = "stopped" // the old program has ended, or there was none
	PhaseStarted = "started"
	PhaseReady   = "ready"
	PhaseExited  = "exited" // it ended by itself
	PhaseError   = "error"
)

// Event is what the supervisor says, one line of JSON each.
type Event struct {
	Phase  string `json:"phase"`
	Build  string `json:"build,omitempty"`
	Time   int64  `json:"time_ns"` // of the node's clock, Unix nanoseconds
	PID    int    `json:"pid,omitempty"`
	Code   int    `json:"code,omitempty"`   // exited
	Signal string `json:"signal,omitempty"` // exited
	What   string `json:"what,omitempty"`   // error, or what is missing for ready
}

// How says in words how a program ended.
func (e Event) How() string {
	if e.Signal != "" {
		return "was ended by signal " + e.Signal
	}
	return fmt.Sprintf("exited with code %d", e.Code)
}

// Go is what push waits for on its standard input after PhaseStopped.
const Go = "go\n"

// check refuses what no push of ours says.
func (s *Switch) check() error {
	switch {
	case len(s.Sum) != 64 || strings.Trim(s.Sum, "0123456789abcdef") != "":
		return errors.New("sum is no SHA-256 in hex")
	case s.Size < 0 || s.Size > MaxProgram:
		return fmt.Errorf("a program of %d bytes; at most %d", s.Size, MaxProgram)
	case s.Name == "" || s.Name == "." || s.Name == ".." || s.Name != path.Base(s.Name) || len(s.Name) > 100:
		return fmt.Errorf("name %q is no file name", s.Name)
	case s.Build == "":
		return errors.New("no build")
	}
	return nil
}

// readSwitch reads the first line of a push.
func readSwitch(r *bufio.Reader) (*Switch, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, fmt.Errorf("read what to start: %w", err)
	}
	var s Switch
	if err := json.Unmarshal(line, &s); err != nil {
		return nil, fmt.Errorf("read what to start: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("refused: %w", err)
	}
	return &s, nil
}

// readLine reads a line of bounded length.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			if err == io.EOF && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		case len(line) > maxHeader:
			return nil, fmt.Errorf("a line of more than %d bytes", maxHeader)
		}
	}
}
