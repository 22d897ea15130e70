package facts

import (
	"sync"
	"time"
)

// clockNoise is what a clock may move between two measurements without being told.
const clockNoise = 500 * time.Millisecond

// Clock estimates by how much the device's clock is ahead of the fleet's.
type Clock struct {
	mu      sync.Mutex
	offset  time.Duration
	changed func()
}

// NewClock returns a clock that calls changed when its estimate has changed. Changed
// must not block.
func NewClock(changed func()) *Clock { return &Clock{changed: changed} }

// Observe takes one measurement, which may be wrong by as much as uncertainty. It
// counts only if the estimate cannot be right any more.
func (c *Clock) Observe(offset, uncertainty time.Duration) {
	c.mu.Lock()
	moved := (offset - c.offset).Abs() > uncertainty+clockNoise
	if moved {
		c.offset = offset.Round(time.Millisecond)
	}
	c.mu.Unlock()
	if moved {
		c.changed()
	}
}

// Offset is the estimate; 0 if there is none, or none that can be told from 0.
func (c *Clock) Offset() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}
