package connection

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
)

// Waits between attempts, besides the spread. Least keeps a short spread from
// becoming a busy loop; most bounds what a series of refusals makes of it.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
	// mostAway bounds the wait for an issuer at whose address nobody listens: being
	// refused costs nobody anything, and the fleet is back a spread after the issuer.
	mostAway = 5 * time.Second
	// overwhelmed is how many spreads the wait for an issuer may grow to that does not
	// answer in time. It begins with one: the issuer works for those who gave up, too,
	// and were all to ask it again at once, it would never catch up.
	overwhelmed = 4
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
		return retryWait(spread/firstShare, p.refusals-1, max(spread, mostWait))
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

// retryWait is a random wait after failures failures before the last one: up to first,
// then twice as much each time, up to most.
func retryWait(first time.Duration, failures int, most time.Duration) time.Duration {
	ceiling := min(max(first, leastWait), most)
	for range failures {
		if ceiling = 2 * ceiling; ceiling >= most {
			ceiling = most
			break
		}
	}
	return leastWait + rand.N(ceiling)
}

// vain counts the requests to the issuer that were in vain, since there was last a
// token. Those at whose address nobody listened count apart: they cost nobody
// anything, and waits that grew while the issuer was away must not be those of a
// device that meets it when it has just come back, and has much to do.
type vain struct{ away, others int }

// wait is a random wait after one more was in vain.
func (v *vain) wait(spread time.Duration, err error) time.Duration {
	if errors.Is(err, syscall.ECONNREFUSED) {
		v.away++
		return retryWait(spread/firstShare, v.away-1, max(spread, mostAway))
	}
	v.others++
	if refusal := new(credential.Refusal); errors.As(err, &refusal) {
		return retryWait(spread/firstShare, v.others-1, max(spread, mostWait))
	}
	return retryWait(spread, v.others-1, max(overwhelmed*spread, mostWait))
}
