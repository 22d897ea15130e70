package deny

import (
	"sync"
	"time"
)

// rounds are when those who are new to the list are looked for. A connection that
// was decided about before stands within the 2 s that a server waits for an
// answer: the last round comes after that.
var rounds = []time.Duration{0, 250 * time.Millisecond, time.Second, 2500 * time.Millisecond}

// sweepPace is the time between two names of a list that was read anew, so that a
// long one does not keep the broker from its work.
const sweepPace = 5 * time.Millisecond

// chase says whom to look for, and when.
type chase struct {
	mu sync.Mutex
	// due are the times at which to look for a name, the next one first.
	due map[string][]time.Time
	// wake says that something may be due earlier than was thought.
	wake chan struct{}
}

func newChase() *chase {
	return &chase{due: make(map[string][]time.Time), wake: make(chan struct{}, 1)}
}

// add has names looked for now and in all rounds.
func (c *chase) add(names ...string) {
	if len(names) == 0 {
		return
	}
	now := time.Now()
	c.mu.Lock()
	for _, name := range names {
		due := make([]time.Time, len(rounds))
		for i, round := range rounds {
			due[i] = now.Add(round)
		}
		c.due[name] = due
	}
	c.mu.Unlock()
	c.ring()
}

// sweep has names looked for once, one after the other, but for those that are
// looked for anyway.
func (c *chase) sweep(names []string) {
	at := time.Now()
	c.mu.Lock()
	for _, name := range names {
		if len(c.due[name]) == 0 {
			c.due[name] = []time.Time{at}
			at = at.Add(sweepPace)
		}
	}
	c.mu.Unlock()
	c.ring()
}

// again has a name looked for once more, unless it is looked for anyway.
func (c *chase) again(name string) {
	c.mu.Lock()
	if len(c.due[name]) == 0 {
		c.due[name] = []time.Time{time.Now().Add(rounds[1])}
	}
	c.mu.Unlock()
	c.ring()
}

func (c *chase) ring() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns the names that are due, and the time of the next one; zero if
// there is none.
func (c *chase) take(now time.Time) (names []string, next time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, due := range c.due {
		if !due[0].After(now) {
			names = append(names, name)
			due = due[1:]
			if len(due) == 0 {
				delete(c.due, name)
				continue
			}
			c.due[name] = due
		}
		if next.IsZero() || due[0].Before(next) {
			next = due[0]
		}
	}
	return names, next
}
