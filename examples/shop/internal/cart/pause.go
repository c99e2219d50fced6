package cart

import (
	"math/rand/v2"
	"time"
)

// pause is how long to wait after an attempt has failed: 25 ms, then ten times as long, and up to a fifth more by
// chance so that carts that failed together do not come back together.
func (c *cart) pause(attempt int) time.Duration {
	switch {
	case c.Fault("retry-storm"):
		return 0
	case c.Fault("retry-no-backoff"):
		return 100 * time.Millisecond
	}
	pause := 25 * time.Millisecond
	for range attempt - 1 {
		pause *= 10
	}
	return pause + time.Duration(rand.Int64N(int64(pause/5)))
}
