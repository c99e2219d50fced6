package cluster

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/kind/pkg/log"
)

// Step is one named step of an operation, as it begins and as it ends.
type Step struct {
	Name string        `json:"name"`
	Done bool          `json:"done"`            // false: it begins
	Took time.Duration `json:"took_ns"`         // when done
	Err  string        `json:"error,omitempty"` // why it failed
}

// steps tells of steps one after the other; the next one ends the one before.
type steps struct {
	tell func(Step)

	mu      sync.Mutex
	current string
	last    string // the last one that began
	began   time.Time
}

func newSteps(tell func(Step)) *steps {
	if tell == nil {
		tell = func(Step) {}
	}
	return &steps{tell: tell}
}

func (s *steps) start(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(nil)
	s.current, s.last, s.began = name, name, time.Now()
	s.tell(Step{Name: name})
}

// end ends the running step; err says why it failed.
func (s *steps) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(err)
}

func (s *steps) endLocked(err error) {
	if s.current == "" {
		return
	}
	done := Step{Name: s.current, Done: true, Took: time.Since(s.began)}
	if err != nil {
		done.Err = firstLine(err.Error())
	}
	s.current = ""
	s.tell(done)
}

// at is the step that runs, or ran last.
func (s *steps) at() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// kindSteps are the beginnings of kind's status lines, and what we call them.
var kindSteps = []struct{ prefix, name string }{
	{"Ensuring node image", ""}, // seen to before
	{"Preparing nodes", "start node containers"},
	{"Configuring the external load balancer", "configure load balancer"},
	{"Writing configuration", "write configuration"},
	{"Starting control-plane", "start control plane"},
	{"Installing CNI", "install network plugin"},
	{"Installing StorageClass", "install storage class"},
	{"Joining more control-plane nodes", "join control planes"},
	{"Joining worker nodes", "join workers"},
}

// kindLogger turns kind's status lines into steps. kind has no other way of telling where it is.
type kindLogger struct {
	steps *steps
	mu    sync.Mutex
	said  []string // warnings and errors
}

var _ log.Logger = (*kindLogger)(nil)

func (l *kindLogger) Warn(message string)               { l.say(message) }
func (l *kindLogger) Warnf(format string, args ...any)  { l.say(fmt.Sprintf(format, args...)) }
func (l *kindLogger) Error(message string)              { l.say(message) }
func (l *kindLogger) Errorf(format string, args ...any) { l.say(fmt.Sprintf(format, args...)) }

func (l *kindLogger) say(message string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, strings.TrimSpace(message))
}

func (l *kindLogger) V(level log.Level) log.InfoLogger {
	if level > 0 {
		return log.NoopInfoLogger{}
	}
	return (*kindStatus)(l)
}

type kindStatus kindLogger

func (l *kindStatus) Enabled() bool                    { return true }
func (l *kindStatus) Infof(format string, args ...any) { l.Info(fmt.Sprintf(format, args...)) }

// Info reads kind's lines: " • Starting control-plane 🕹️  ..." when a step begins, " ✗ …" when it failed.
func (l *kindStatus) Info(message string) {
	text, begins := strings.CutPrefix(strings.TrimSpace(message), "• ")
	if !begins {
		return
	}
	for _, s := range kindSteps {
		if strings.HasPrefix(text, s.prefix) && s.name != "" {
			l.steps.start(s.name)
		}
	}
}
