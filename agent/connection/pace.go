package connection

import (
	"math/rand/v2"
	"time"
)

// Waits between attempts, besides the spread. Least keeps a short spread from
// becoming a busy loop; most bounds what a series of refusals makes of it.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
	// mostAway bounds the wait for an issuer that does not answer: the fleet is back a
	// spread after it, and meanwhile asks it twice as often as when all come back.
	mostAway = 5 * time.Second
)

// firstShare is the part of the spread within which a device tries again that was
// turned away for the first time. Few are, as the others keep to the spread, and
// none of them may end up a whole spread behind.
const firstShare = 16

// pace says how long to wait before the next attempt. It is not safe for
// concurrent use.
type pace struct {
	// spread is the time over which the fleet's devices are spread at present.
	spread func() time.Duration

	// attempts counts those since a connection was last accepted, refusals the
	// times that a token was presented in vain among them.
	attempts, refusals int
	// presented is whether the attempt that was made last presented a token.
	presented bool
}

// next is the wait before the next attempt, which counts as begun.
//
// The first attempt after a loss is anywhere within the spread. While the broker
// does not answer at all the next is a whole spread later: so the fleet's attempts
// stay spread evenly however long that takes, where random waits would bunch as
// many again at the beginning. Who was turned away tries again after a share of
// the spread that doubles: soon enough not to be the last, and ever more seldom
// if those who admit are overwhelmed or away.
func (p *pace) next() time.Duration {
	spread, presented := p.spread(), p.presented
	p.attempts++
	p.presented = false
	switch {
	case presented:
		return retryWait(spread, p.refusals-1, mostWait)
	case p.attempts == 1:
		return rand.N(spread + 1)
	default:
		return max(spread, leastWait)
	}
}

// present notes that a token is presented.
func (p *pace) present() {
	p.presented = true
	p.refusals++
}

// accept notes that the connection is accepted.
func (p *pace) accept() { p.attempts, p.refusals, p.presented = 0, 0, false }

// retryWait is a random wait after failures failures before the last one, up to most
// or the spread.
func retryWait(spread time.Duration, failures int, most time.Duration) time.Duration {
	most = max(spread, most)
	ceiling := max(spread/firstShare, leastWait)
	for range failures {
		if ceiling = 2 * ceiling; ceiling >= most {
			ceiling = most
			break
		}
	}
	return leastWait + rand.N(ceiling)
}
