package connection

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
)

// A token is made for one outage and may be presented again while it lasts: who
// is turned away because too many came at once does not cost the issuer another
// signature. It is given up when it is old, since what the issuer says of the
// device may have changed, and when it was presented so often that it may be the
// token that is turned away.
//
// If the issuer cannot be asked, the token of the last connection is presented once
// more, as long as it has leastLife left: the connection ends with it, as the last one
// would have, so that nobody is let in for longer than the issuer has said.
const (
	staleAfter       = 5 * time.Minute
	maxPresentations = 3
	// leastLife is twice of what a callout may take off (its expiry_jitter).
	leastLife = time.Minute
)

// tokens keeps the one token that the next attempt will present.
type tokens struct {
	minter Minter
	log    *slog.Logger

	mu     sync.Mutex
	pace   pace
	next   *credential.Token
	madeAt time.Time
	// presentations counts how often the token was given out.
	presentations int
	// last is the token that was given out last, admitted that of the last connection.
	last, admitted *credential.Token
}

// prepare waits as the next attempt should and has a token ready. It returns
// false if ctx ended. The failure is that of the last attempt, if it is known.
func (t *tokens) prepare(ctx context.Context, failure error) bool {
	t.mu.Lock()
	turnedAway, refusals := t.pace.presented, t.pace.refusals
	t.mu.Unlock()
	switch {
	case turnedAway:
		t.log.Log(ctx, seldom(refusals), TurnedAway, "times", refusals, "error", failure)
	case failure != nil:
		t.failed(ctx, failure)
	}
	t.mu.Lock()
	pause := t.pace.next()
	t.mu.Unlock()
	if !wait(ctx, pause) {
		return false
	}
	var inVain vain
	for {
		if t.fresh() {
			return true
		}
		token, err := t.minter.Mint(ctx)
		if err == nil {
			t.keep(&token)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if t.again(ctx, err) {
			return true
		}
		pause := inVain.wait(t.pace.spread(), err)
		t.report(ctx, inVain.away+inVain.others, err)
		if !wait(ctx, pause) {
			return false
		}
	}
}

// keep has a token presented from now on.
func (t *tokens) keep(token *credential.Token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.madeAt, t.presentations = token, time.Now(), 0
}

// again keeps the token of the last connection if it has some life left, unless the
// issuer was asked and refused: that is its word about the device.
func (t *tokens) again(ctx context.Context, err error) bool {
	t.mu.Lock()
	next, admitted := t.next, t.admitted
	t.mu.Unlock()
	refusal := new(credential.Refusal)
	if errors.As(err, &refusal) || admitted == nil || time.Until(admitted.Expiry) < leastLife {
		return false
	}
	level := slog.LevelDebug
	if next != admitted {
		level = slog.LevelWarn
	}
	t.log.Log(ctx, level, "the issuer cannot be asked for an access token, presenting the last one again", "error", err)
	t.keep(admitted)
	return true
}

// seldom is the level for a failure of a row that may be long: the first is a warning,
// and then every one that is twice as late.
func seldom(number int) slog.Level {
	if number&(number-1) == 0 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// report logs that there is no token.
func (t *tokens) report(ctx context.Context, failures int, err error) {
	var refusal *credential.Refusal
	t.log.Log(ctx, seldom(failures), "no access token, trying again", "failures", failures, "refused", errors.As(err, &refusal), "error", err)
}

// fresh reports whether there is a token for the next attempt, and drops one that
// should not be presented again. For another than that of the last connection the
// issuer is asked before every attempt.
func (t *tokens) fresh() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil || t.next == t.admitted {
		return false
	}
	// A connection ends with its token: one with little life left is no good.
	age, life := time.Since(t.madeAt), t.next.Expiry.Sub(t.madeAt)
	if age > min(staleAfter, life/2) || t.presentations >= maxPresentations {
		t.next = nil
		return false
	}
	return true
}

// ready reports whether there is a token to present.
func (t *tokens) ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next != nil
}

// hand gives the token out.
func (t *tokens) hand() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		return ""
	}
	t.last = t.next
	t.presentations++
	t.pace.present()
	return t.next.Secret()
}

// accepted notes that the broker took the token: the next connection has another, if
// the issuer can be asked.
func (t *tokens) accepted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next, t.admitted = nil, t.last
	t.pace.accept()
}

// failed logs that an attempt presented no token, as nobody took it.
func (t *tokens) failed(ctx context.Context, err error) {
	t.mu.Lock()
	attempts := t.pace.attempts
	t.mu.Unlock()
	t.log.Log(ctx, seldom(attempts), AttemptFailed, "attempts", attempts, "error", err)
}

// presented is the id of the token that was given out last.
func (t *tokens) presented() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return ""
	}
	return t.last.ID
}

// wait returns false if ctx ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
