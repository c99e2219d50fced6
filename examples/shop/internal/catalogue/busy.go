package catalogue

import "sync"

// Every busyEvery-th price list is refused busyTimes times before it is answered, so that there are retries to judge.
const (
	busyEvery = 40
	busyFirst = 5 // which of the busyEvery: not the last, or an exercise would wait for it at its end
	busyTimes = 2
)

// busy decides which requests are refused. Attempts of one request are told by their X-Request-Id.
type busy struct {
	mu       sync.Mutex
	seen     int
	attempts map[string]int // requests in progress only
}

func newBusy() *busy { return &busy{attempts: map[string]int{}} }

func (b *busy) refuses(request string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.attempts) > 10_000 {
		clear(b.attempts) // callers who never came back
	}
	n, again := b.attempts[request]
	if !again {
		b.seen++
		if b.seen%busyEvery != busyFirst {
			n = busyTimes
		}
	}
	b.attempts[request] = n + 1
	return n < busyTimes
}
