package watch

import "time"

// coalescer gathers paths until nothing came for a while, or for long enough.
type coalescer struct {
	rest, limit time.Duration
	noted       map[string]struct{}
	everything  bool // look at all files
	overflow    bool
	first, last time.Time
}

func (c *coalescer) add(path string, now time.Time) {
	if c.noted == nil {
		c.noted = map[string]struct{}{}
	}
	c.noted[path] = struct{}{}
	c.touch(now)
}

func (c *coalescer) all(now time.Time, overflow bool) {
	c.everything, c.overflow = true, c.overflow || overflow
	c.touch(now)
}

func (c *coalescer) touch(now time.Time) {
	if c.first.IsZero() {
		c.first = now
	}
	c.last = now
}

// due is when the batch is to be looked at, if there is one.
func (c *coalescer) due() (time.Time, bool) {
	if c.first.IsZero() {
		return time.Time{}, false
	}
	due := c.last.Add(c.rest)
	if limit := c.first.Add(c.limit); limit.Before(due) {
		due = limit
	}
	return due, true
}

func (c *coalescer) take() (noted map[string]struct{}, everything, overflow bool) {
	noted, everything, overflow = c.noted, c.everything, c.overflow
	*c = coalescer{rest: c.rest, limit: c.limit}
	return noted, everything, overflow
}
