package token

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/callout/refusal"
)

// KeySetOptions say how a [KeySet] is kept. Zero values take the defaults.
type KeySetOptions struct {
	// Issuer is the issuer's exact origin; its discovery document names the keys.
	Issuer string
	Client *http.Client
	// MaxAge is how long the keys are used before they are fetched again in the
	// background. Default 5 min, which is what Zitadel's Cache-Control says.
	MaxAge time.Duration
	// MinInterval is the least time between two fetches that unknown key ids
	// cause: what a flood of invented ones can cost the issuer. Default 2 s.
	MinInterval time.Duration
	// Timeout bounds one fetch. Default 5 s.
	Timeout time.Duration
	// MaxWaiting is how many callers may wait for a fetch at a time; others are
	// refused at once, so that a slow issuer does not hold up tokens whose keys
	// are known. Default 2.
	MaxWaiting int
	// File, if set, is where the keys are written down, for who starts while the issuer
	// cannot be asked. With ReadOnly it is gone by, but not written.
	File     string
	ReadOnly bool
	// Fetched, if set, is told of every fetch and its error.
	Fetched func(error)
	Log     *slog.Logger
}

// The least and the most time between two attempts to fetch keys that failed.
const (
	retryMin = 250 * time.Millisecond
	retryMax = 10 * time.Second
)

// KeySet keeps the issuer's public keys ready. They are fetched when [KeySet.Run]
// starts, again when they are old, and when a token names one that is not among
// them (they may have been rotated). Whatever happens to the issuer, the last
// good ones stay in use, also those of an earlier run if they are in a file and not
// older than a day.
type KeySet struct {
	options KeySetOptions
	limit   *rate.Limiter
	waiting chan struct{}
	wake    chan struct{}
	current atomic.Pointer[snapshot]
	loaded  chan struct{}
	first   sync.Once
	// failed says that the last fetch did: what the issuer publishes is not known.
	failed atomic.Bool

	// kept is what the file holds, as far as this run knows. Run alone has it.
	kept *snapshot

	mu     sync.Mutex
	flight *flight
}

// snapshot are the keys of one fetch.
type snapshot struct {
	keys    map[string]jose.JSONWebKey
	fetched time.Time
}

// flight is a fetch that is asked for or, once started, under way; done is closed
// at its end.
type flight struct {
	started bool
	done    chan struct{}
}

// NewKeySet returns an empty set; [KeySet.Run] fills it.
func NewKeySet(o KeySetOptions) *KeySet {
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.MaxAge == 0 {
		o.MaxAge = 5 * time.Minute
	}
	if o.MinInterval == 0 {
		o.MinInterval = 2 * time.Second
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxWaiting == 0 {
		o.MaxWaiting = 2
	}
	if o.Fetched == nil {
		o.Fetched = func(error) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &KeySet{
		options: o,
		limit:   rate.NewLimiter(rate.Every(o.MinInterval), 1),
		waiting: make(chan struct{}, o.MaxWaiting),
		wake:    make(chan struct{}, 1),
		loaded:  make(chan struct{}),
	}
}

// Loaded is closed when there are keys for the first time.
func (s *KeySet) Loaded() <-chan struct{} { return s.loaded }

// Fetched returns when the keys in use were fetched; zero if there are none.
func (s *KeySet) Fetched() time.Time {
	if now := s.current.Load(); now != nil {
		return now.fetched
	}
	return time.Time{}
}

// Key returns the key called id. One that is not known is looked for at the
// issuer, unless that was done a moment ago. The error is a [refusal.Error].
func (s *KeySet) Key(ctx context.Context, id string) (jose.JSONWebKey, error) {
	if key, ok := s.lookup(id); ok {
		return key, nil
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return jose.JSONWebKey{}, refusal.New(refusal.KeysUnavailable, "the issuer is being asked for its keys, and enough callers wait for the answer")
	}
	// A fetch that is under way may have missed a key that was published since:
	// then another has to be waited for.
	for fresh := false; !fresh; {
		var flight *flight
		if flight, fresh = s.join(); flight == nil {
			return jose.JSONWebKey{}, s.unknown(id)
		}
		select {
		case <-flight.done:
		case <-ctx.Done():
			return jose.JSONWebKey{}, refusal.New(refusal.KeysUnavailable, "the issuer did not send its keys in time: %w", context.Cause(ctx))
		}
		if key, ok := s.lookup(id); ok {
			return key, nil
		}
	}
	return jose.JSONWebKey{}, s.unknown(id)
}

func (s *KeySet) lookup(id string) (jose.JSONWebKey, bool) {
	now := s.current.Load()
	if now == nil {
		return jose.JSONWebKey{}, false
	}
	key, ok := now.keys[id]
	return key, ok
}

func (s *KeySet) unknown(id string) error {
	switch {
	case s.Fetched().IsZero():
		return refusal.New(refusal.KeysUnavailable, "no keys of the issuer could be had yet")
	case s.failed.Load():
		return refusal.New(refusal.KeysUnavailable, "key %.80q is not among the last that the issuer sent, and it cannot be asked now", id)
	}
	return refusal.New(refusal.KeyUnknown, "the issuer publishes no key %.80q", id)
}

// join returns the fetch that is asked for or under way, or a new one if the
// limit allows it, or nil; and whether it has yet to start.
func (s *KeySet) join() (f *flight, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight, !s.flight.started
	}
	if !s.limit.Allow() {
		return nil, false
	}
	s.flight = &flight{done: make(chan struct{})}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return s.flight, true
}

// Run fetches the keys now and whenever it is due, until ctx ends.
func (s *KeySet) Run(ctx context.Context) {
	delay := retryMin
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		case <-s.wake:
		}
		if err := s.fly(ctx); err != nil {
			s.options.Log.WarnContext(ctx, "The issuer's keys could not be fetched; the last good ones stay in use.",
				"issuer", s.options.Issuer, "error", err, "retryIn", delay, "haveKeys", !s.Fetched().IsZero())
			due.Reset(jittered(delay))
			delay = min(2*delay, retryMax, s.options.MaxAge)
			continue
		}
		if err := s.keep(); err != nil {
			s.options.Log.WarnContext(ctx, "A start while the issuer cannot be asked would have no keys.", "error", err)
		}
		delay = retryMin
		due.Reset(jittered(s.options.MaxAge))
	}
}

// fallBack has kept keys used if there are no others.
func (s *KeySet) fallBack(ctx context.Context) {
	if !s.Fetched().IsZero() {
		return
	}
	switch found, err := s.restore(); {
	case err != nil:
		s.options.Log.WarnContext(ctx, "There are no keys of an earlier run to go by.", "error", err)
	case found != nil:
		s.options.Log.WarnContext(ctx, "The issuer cannot be asked for its keys; those of an earlier run are used.", "fetched", found.fetched)
		s.current.Store(found)
		s.first.Do(func() { close(s.loaded) })
	}
}

// fly fetches once and lets all who wait for it go on.
func (s *KeySet) fly(ctx context.Context) error {
	s.mu.Lock()
	if s.flight == nil {
		s.flight = &flight{done: make(chan struct{})}
	}
	current := s.flight
	current.started = true
	s.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	keys, err := fetch(ctx, s.options.Client, s.options.Issuer)
	s.failed.Store(err != nil)
	if err == nil {
		s.current.Store(&snapshot{keys: keys, fetched: time.Now()})
	} else {
		s.fallBack(ctx)
	}
	// In this order nobody joins what is over, and who learns of it in any way
	// finds it counted.
	s.mu.Lock()
	s.flight = nil
	s.mu.Unlock()
	s.options.Fetched(err)
	if err == nil {
		s.first.Do(func() { close(s.loaded) })
	}
	close(current.done)
	return err
}

// jittered shortens d by up to a tenth, so that several callouts do not ask the
// issuer in step.
func jittered(d time.Duration) time.Duration { return d - rand.N(d/10+1) }
