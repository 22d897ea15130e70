package connection

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
)

// bounds draws many waits.
func bounds(draw func() time.Duration) (shortest, longest time.Duration) {
	shortest = time.Hour
	for range 2000 {
		d := draw()
		shortest, longest = min(shortest, d), max(longest, d)
	}
	return shortest, longest
}

func TestFirstAttemptIsAnywhereWithinTheSpread(t *testing.T) {
	const over = 12 * time.Second
	shortest, longest := bounds(func() time.Duration {
		p := pace{spread: spread(over)}
		return p.next()
	})
	if shortest > over/50 || longest < over-over/50 || longest > over {
		t.Errorf("waits are from %s to %s of %s", shortest, longest, over)
	}
}

// However long the broker is away, the fleet's attempts are as even as at first:
// nobody waits longer than the spread once it is back, and no two parts of it get
// more than their share.
func TestLongOutageKeepsTheSpread(t *testing.T) {
	const over, devices, parts = 12 * time.Second, 8000, 8
	back := 5 * time.Minute
	var arrivals [parts]int
	for range devices {
		p := pace{spread: spread(over)}
		at := p.next()
		for at < back {
			at += p.next()
		}
		if at > back+over {
			t.Fatalf("a device is back %s after its broker, spread %s", at-back, over)
		}
		arrivals[min(parts-1, int((at-back)*parts/over))]++
	}
	for part, n := range arrivals {
		if share := devices / parts; n < share*8/10 || n > share*12/10 {
			t.Errorf("%d devices come in part %d of the spread, want about %d: %v", n, part, share, arrivals)
		}
	}
}

// Who was turned away once is not a whole spread behind; who is turned away again
// and again becomes seldom.
func TestTurnedAwayDevicesComeSoonAndThenSeldom(t *testing.T) {
	const over = 16 * time.Second
	for refusals, ceiling := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, mostWait, mostWait} {
		shortest, longest := bounds(func() time.Duration {
			p := pace{spread: spread(over)}
			for range refusals + 1 {
				p.next()
				p.present()
			}
			return p.next()
		})
		if shortest < leastWait || longest > ceiling+leastWait || longest < ceiling*9/10 {
			t.Errorf("after %d refusals the wait is from %s to %s, want up to %s", refusals+1, shortest, longest, ceiling)
		}
	}
}

// Nobody comes much more than a spread after an issuer that was away. One that has too
// much to do is left alone for longer, or it would never catch up.
func TestIssuerInTroubleIsLeftAloneForAsLongAsItNeeds(t *testing.T) {
	away := fmt.Errorf("%w: %w", credential.ErrUnreachable, syscall.ECONNREFUSED)
	slow := fmt.Errorf("%w: %w", credential.ErrUnreachable, context.DeadlineExceeded)
	for _, row := range []struct {
		err           error
		over, ceiling time.Duration
	}{
		{away, time.Second, mostAway},
		{away, 20 * time.Second, 20 * time.Second},
		{slow, time.Second, mostWait},
		{slow, 20 * time.Second, 80 * time.Second},
		{&credential.Refusal{Status: 400}, time.Second, mostWait},
		{&credential.Refusal{Status: 400}, 40 * time.Second, 40 * time.Second},
	} {
		if _, first := bounds(func() time.Duration { return new(vain).wait(row.over, slow) }); first < row.over*9/10 {
			t.Errorf("who got no answer within a spread of %s asks again after %s at most", row.over, first)
		}
		_, longest := bounds(func() time.Duration { return (&vain{away: 1000, others: 1000}).wait(row.over, row.err) })
		if longest > row.ceiling+leastWait || longest < row.ceiling*9/10 {
			t.Errorf("after %v, with a spread of %s, the wait is up to %s, want up to %s", row.err, row.over, longest, row.ceiling)
		}
	}
}

// However long the issuer was away, a device that meets it when it has just come back,
// and gets no answer in time, comes again a spread later.
func TestWaitsForAnIssuerThatWasAwayAreForgotten(t *testing.T) {
	const over = 12 * time.Second
	away := fmt.Errorf("%w: %w", credential.ErrUnreachable, syscall.ECONNREFUSED)
	slow := fmt.Errorf("%w: %w", credential.ErrUnreachable, context.DeadlineExceeded)
	_, longest := bounds(func() time.Duration {
		var inVain vain
		for range 10 {
			inVain.wait(over, away)
		}
		return inVain.wait(over, slow)
	})
	if longest > over+leastWait {
		t.Errorf("it waits %s, want a spread of %s at most", longest, over)
	}
}

func TestAcceptedDeviceBeginsAnew(t *testing.T) {
	p := pace{spread: spread(leastWait)}
	for range 10 {
		p.next()
		p.present()
	}
	p.accept()
	if _, longest := bounds(func() time.Duration { q := p; return q.next() }); longest > leastWait {
		t.Errorf("it waits %s", longest)
	}
}

// A fleet of one, with no spread at all, does not try in a busy loop.
func TestWaitsAreNeverZero(t *testing.T) {
	p := pace{spread: spread(0)}
	p.next()
	if d := p.next(); d < leastWait {
		t.Errorf("a broker that is away is tried again after %s", d)
	}
	p.present()
	if d := p.next(); d < leastWait {
		t.Errorf("a broker that turns it away is tried again after %s", d)
	}
}
