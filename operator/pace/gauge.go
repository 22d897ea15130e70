package pace

import (
	"sync"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// A storm counts as a measurement if at least minStorm devices had to come back:
// fewer say nothing about how many could.
const minStorm = 100

// Enough of a storm, in percent, is when this part is back: the last few may have
// reasons of their own.
const enough = 95

// giveUp is how long after the end of the spread a storm is watched. What takes
// longer has another reason than many devices: an issuer that is away, say.
const giveUp = time.Minute

// One storm changes the rate by no more than this, in percent. Something may have
// been wrong once; and that devices kept to their spread says only that more may be
// admitted, which the next storm tries.
const (
	mostFall = 50
	mostRise = 120
)

// Gauge measures how many devices a second are admitted.
type Gauge struct {
	mu    sync.Mutex
	storm *storm
}

// storm is the return of a fleet to its broker.
type storm struct {
	began time.Time
	// expected is how many devices have to come back, spread the time over which
	// they were told to.
	expected int
	spread   time.Duration
	returned map[protocol.DeviceID]struct{}
	// last is when the last of those came back that are enough.
	last time.Time
}

// Begin begins a measurement: the broker is back, this many devices were there
// before it was lost, and are to come back over the spread.
func (g *Gauge) Begin(now time.Time, expected int, spread time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.storm = nil
	if expected >= minStorm {
		g.storm = &storm{began: now, expected: expected, spread: spread, returned: make(map[protocol.DeviceID]struct{}, expected)}
	}
}

// Heard notes that a device is connected.
func (g *Gauge) Heard(id protocol.DeviceID, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.storm
	if s == nil || s.enough() {
		return
	}
	s.returned[id] = struct{}{}
	s.last = now
}

func (s *storm) enough() bool { return len(s.returned)*100 >= s.expected*enough }

// Take ends the measurement if it is over, and returns the rate that follows from
// it and the rate that was reckoned with.
func (g *Gauge) Take(now time.Time, rate int) (measured int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.storm
	switch {
	case s == nil:
		return 0, false
	case s.enough():
		g.storm = nil
		return s.rate(len(s.returned), rate), true
	case now.Sub(s.began) > s.spread+giveUp:
		g.storm = nil
	}
	return 0, false
}

// rate is what follows from a storm that is over, in which this many are back.
func (s *storm) rate(returned, before int) int {
	took := max(s.last.Sub(s.began), time.Millisecond)
	least, most := max(1, before*mostFall/100), before*mostRise/100+1
	if took <= s.spread {
		// They came as they were told to, so that more could have.
		return most
	}
	seen := int(float64(returned) / took.Seconds())
	return min(max(seen, least), most)
}
