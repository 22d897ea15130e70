package connection

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seatrial/seatrial/agent/credential"
)

// staleAfter is how long a token may wait for its attempt. While the broker is
// away, attempts fail before a token is presented, and it can be kept for the next.
const staleAfter = 30 * time.Second

// Waits between attempts. Least keeps a short jitter from becoming a busy loop;
// most bounds what a series of refusals or an issuer's outage makes of it.
const (
	leastWait = 100 * time.Millisecond
	mostWait  = 30 * time.Second
)

// patience is how many attempts in a row are made at full pace although each
// presented a token in vain: a broker may be back before its callout is.
const patience = 2

// tokens keeps the one token that the next attempt will present.
type tokens struct {
	minter Minter
	jitter time.Duration
	log    *slog.Logger

	mu     sync.Mutex
	next   *credential.Token
	madeAt time.Time
	last   string
	// refusals counts tokens that were presented since one was accepted.
	refusals int
}

// prepare waits as this attempt should and has a token ready. It returns false if
// ctx ended.
func (t *tokens) prepare(ctx context.Context, attempt int) bool {
	t.mu.Lock()
	exponent := max(0, t.refusals-patience)
	t.mu.Unlock()
	// The first of all attempts is spread, too: fleets are switched on at once.
	if !wait(ctx, t.spread(exponent, attempt > 0)) {
		return false
	}
	for failures := 0; ; failures++ {
		if t.fresh() {
			return true
		}
		token, err := t.minter.Mint(ctx)
		if err == nil {
			t.mu.Lock()
			t.next, t.madeAt = &token, time.Now()
			t.mu.Unlock()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		t.report(ctx, failures, err)
		if !wait(ctx, t.spread(failures, true)) {
			return false
		}
	}
}

// report logs the first failure of a row, and then ever more seldom.
func (t *tokens) report(ctx context.Context, failures int, err error) {
	level := slog.LevelDebug
	if failures&(failures-1) == 0 {
		level = slog.LevelWarn
	}
	var refusal *credential.Refusal
	t.log.Log(ctx, level, "no access token, trying again", "failures", failures+1, "refused", errors.As(err, &refusal), "error", err)
}

// spread is a random wait of up to jitter × 2^exponent.
func (t *tokens) spread(exponent int, atLeast bool) time.Duration {
	ceiling := max(t.jitter, leastWait)
	for range exponent {
		ceiling = min(2*ceiling, max(mostWait, t.jitter))
	}
	if t.jitter == 0 && !atLeast {
		return 0
	}
	spread := rand.N(ceiling)
	if atLeast {
		return max(spread, leastWait)
	}
	return spread
}

// fresh reports whether there is a token for the next attempt, and drops a stale
// one.
func (t *tokens) fresh() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		return false
	}
	if age := time.Since(t.madeAt); age > staleAfter || time.Until(t.next.Expiry) < staleAfter {
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

// hand gives the token out, once.
func (t *tokens) hand() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		return ""
	}
	token := t.next
	t.next, t.last = nil, token.ID
	t.refusals++
	return token.Secret()
}

// accepted notes that the broker took the token.
func (t *tokens) accepted() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusals = 0
}

// presented is the id of the token that was given out last.
func (t *tokens) presented() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
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
