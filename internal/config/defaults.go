package config

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// The values that hold where devloop.yaml says nothing.
const (
	defaultReadyTimeout    = 30 * time.Second
	defaultExerciseTimeout = 2 * time.Minute
	defaultRequestTimeout  = 30 * time.Second
	defaultQuiet           = 50 * time.Millisecond
	defaultDrain           = 2 * time.Second
	defaultRing            = Size(256 << 20)
	defaultSnapshots       = Size(1 << 30)
	defaultMaxAge          = 7 * 24 * time.Hour
)

// DefaultTimeout is Timeout, or 30s where it is not set; a nil Ready has the default too.
func (r *Ready) DefaultTimeout() time.Duration {
	if r == nil {
		return defaultReadyTimeout
	}
	return cmp.Or(time.Duration(r.Timeout), defaultReadyTimeout)
}

// DefaultTimeout is Timeout, or 2m where it is not set.
func (e Exercise) DefaultTimeout() time.Duration {
	return cmp.Or(time.Duration(e.Timeout), defaultExerciseTimeout)
}

// DefaultTimeout is Timeout, or 30s where it is not set.
func (s HTTPStep) DefaultTimeout() time.Duration {
	return cmp.Or(time.Duration(s.Timeout), defaultRequestTimeout)
}

// IsFile reports whether the calls come from a bundle in the workspace, and not from a snapshot that is kept.
func (s ReplayStep) IsFile() bool { return strings.HasSuffix(s.Snapshot, ".bundle") }

// DefaultFactor is Factor, or 1 where it is not set.
func (s ReplayStep) DefaultFactor() float64 {
	if s.Factor == nil {
		return 1
	}
	return *s.Factor
}

// DefaultConcurrency is Concurrency, or 8 where it is not set.
func (s ReplayStep) DefaultConcurrency() int { return cmp.Or(s.Concurrency, 8) }

// DefaultMethod is Method, or GET where it is not set.
func (s HTTPStep) DefaultMethod() string { return cmp.Or(s.Method, "GET") }

// DefaultQuiet is Quiet, or 50ms where it is not set.
func (w Window) DefaultQuiet() time.Duration { return cmp.Or(time.Duration(w.Quiet), defaultQuiet) }

// DefaultDrain is Drain, or 2s where it is not set.
func (w Window) DefaultDrain() time.Duration { return cmp.Or(time.Duration(w.Drain), defaultDrain) }

// DefaultRing is Ring, or 256MiB where it is not set.
func (s Storage) DefaultRing() Size { return cmp.Or(s.Ring, defaultRing) }

// DefaultSnapshots is Snapshots, or 1GiB where it is not set.
func (s Storage) DefaultSnapshots() Size { return cmp.Or(s.Snapshots, defaultSnapshots) }

// DefaultMaxAge is MaxAge, or 168h where it is not set.
func (s Storage) DefaultMaxAge() time.Duration { return cmp.Or(time.Duration(s.MaxAge), defaultMaxAge) }

// DefaultExercise is the name of the exercise that a save runs: the one marked default, else the first by name, "" where
// there is none.
func (c *Config) DefaultExercise() string {
	names := slices.Sorted(maps.Keys(c.Exercises))
	for _, name := range names {
		if c.Exercises[name].Default {
			return name
		}
	}
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// DefaultPort is the port that a probe asks when it names none: "http" where there is one, else the first by name; 0
// where there are no ports.
func DefaultPort(ports map[string]int) int {
	if number, ok := ports["http"]; ok {
		return number
	}
	for _, name := range slices.Sorted(maps.Keys(ports)) {
		return ports[name]
	}
	return 0
}
