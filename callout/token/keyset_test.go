package token_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
)

// never is an interval that does not pass during a test.
const never = time.Hour

// fetches passes on what a set is told of its fetches.
func fetches() (func(error), <-chan error) {
	results := make(chan error, 1024)
	return func(err error) { results <- err }, results
}

func await(t *testing.T, results <-chan error) error {
	t.Helper()
	select {
	case err := <-results:
		return err
	case <-time.After(time.Minute):
		t.Fatal("no fetch")
		return nil
	}
}

// asked waits until the issuer has been asked for its keys n times.
func asked(t *testing.T, issuer *issuertest.Issuer, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); issuer.Fetches.Load() < n; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("the issuer was asked %d times, not %d", issuer.Fetches.Load(), n)
		}
	}
}

func TestKeysAreFetchedBeforeTheyAreNeeded(t *testing.T) {
	issuer := issuertest.New(t)
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MinInterval: never})
	if issuer.Fetches.Load() != 1 || issuer.Discoveries.Load() != 1 {
		t.Errorf("%d fetches, %d discoveries, want one each", issuer.Fetches.Load(), issuer.Discoveries.Load())
	}
	for range 100 {
		if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
			t.Fatal(err)
		}
	}
	if issuer.Fetches.Load() != 1 {
		t.Errorf("known keys cost %d fetches", issuer.Fetches.Load()-1)
	}
}

func TestRotatedKeyIsFoundAtOnce(t *testing.T) {
	issuer := issuertest.New(t)
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never})
	old := issuer.KeyID()
	issuer.Rotate(t, jose.ES256)
	for _, id := range []string{issuer.KeyID(), old} {
		if _, err := keys.Key(t.Context(), id); err != nil {
			t.Errorf("key %s: %v", id, err)
		}
	}
	if n := issuer.Fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

// A key that is published while the keys are being fetched is found all the same.
func TestKeyPublishedDuringAFetchIsFound(t *testing.T) {
	issuer := issuertest.New(t)
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, Timeout: never, MinInterval: time.Nanosecond})
	letGo := issuer.Hold()
	first := make(chan error, 1)
	go func() { _, err := keys.Key(t.Context(), "invented"); first <- err }()
	asked(t, issuer, 2)
	issuer.Rotate(t, jose.ES256)
	second := make(chan error, 1)
	go func() { _, err := keys.Key(t.Context(), issuer.KeyID()); second <- err }()
	<-time.After(50 * time.Millisecond) // so that it waits for the fetch that is under way
	letGo()
	if err := <-first; refusal.ReasonOf(err) != refusal.KeyUnknown {
		t.Errorf("the invented key: %v", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the new key: %v", err)
	}
}

func TestFloodOfUnknownKeysCostsOneFetch(t *testing.T) {
	issuer := issuertest.New(t)
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, MinInterval: never, MaxWaiting: 1000})
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if _, err := keys.Key(t.Context(), "invented"); refusal.ReasonOf(err) != refusal.KeyUnknown {
				t.Errorf("got %v, want %s", err, refusal.KeyUnknown)
			}
		})
	}
	all.Wait()
	if n := issuer.Fetches.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
}

func TestOneCallersEndDoesNotEndTheFetch(t *testing.T) {
	issuer := issuertest.New(t)
	told, results := fetches()
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, Timeout: never, Fetched: told})
	if err := await(t, results); err != nil {
		t.Fatal(err)
	}
	issuer.Rotate(t, jose.ES256)
	letGo := issuer.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Key(ctx, issuer.KeyID()); refusal.ReasonOf(err) != refusal.KeysUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %s", err, refusal.KeysUnavailable)
	}
	letGo()
	if err := await(t, results); err != nil {
		t.Errorf("the fetch that was under way: %v", err)
	}
	if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
		t.Errorf("after it: %v", err)
	}
}

// A fetch that is over is not joined: whoever was told of it and asks for a key
// that it did not bring has another made.
func TestWhoWasToldOfAFetchHasAnotherMade(t *testing.T) {
	issuer := issuertest.New(t)
	told, seen := make(chan error), make(chan struct{})
	keys := running(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, Fetched: func(err error) { told <- err; <-seen }})
	if err := await(t, told); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keys.Key(ended, "unknown"); refusal.ReasonOf(err) != refusal.KeysUnavailable {
		t.Errorf("got %v, want %s", err, refusal.KeysUnavailable)
	}
	close(seen)
	if err := await(t, told); err != nil {
		t.Error(err)
	}
}

func TestSlowIssuerHoldsUpFewCallers(t *testing.T) {
	issuer := issuertest.New(t)
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, Timeout: never, MaxWaiting: 1})
	known := issuer.KeyID()
	issuer.Rotate(t, jose.ES256)
	issuer.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() { _, err := keys.Key(ctx, issuer.KeyID()); waiting <- err }()
	asked(t, issuer, 2)
	if _, err := keys.Key(t.Context(), issuer.KeyID()); refusal.ReasonOf(err) != refusal.KeysUnavailable {
		t.Errorf("a second caller: got %v, want %s", err, refusal.KeysUnavailable)
	}
	if _, err := keys.Key(t.Context(), known); err != nil {
		t.Errorf("a known key: %v", err)
	}
	cancel()
	if err := <-waiting; refusal.ReasonOf(err) != refusal.KeysUnavailable {
		t.Errorf("the first caller: %v", err)
	}
}

func TestLastGoodKeysOutliveTheIssuer(t *testing.T) {
	issuer := issuertest.New(t)
	told, results := fetches()
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: 20 * time.Millisecond, Fetched: told})
	if err := await(t, results); err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]func(){
		"it is down":           func() { issuer.Down(true) },
		"it publishes no keys": func() { issuer.Withdraw(); issuer.Down(false) },
	} {
		t.Run(name, func(t *testing.T) {
			fail()
			for await(t, results) == nil {
			}
			if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
				t.Errorf("a known key: %v", err)
			}
			// Whether the issuer publishes it by now nobody knows, and it is no fault of
			// who bears it.
			if _, err := keys.Key(t.Context(), "unknown"); refusal.ReasonOf(err) != refusal.KeysUnavailable {
				t.Errorf("an unknown key: %v, want %s", err, refusal.KeysUnavailable)
			}
		})
	}
}

func TestWithdrawnKeyIsForgotten(t *testing.T) {
	issuer := issuertest.New(t)
	told, results := fetches()
	old := issuer.KeyID()
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: 20 * time.Millisecond, MinInterval: never, Fetched: told})
	issuer.Withdraw()
	issuer.Rotate(t, jose.EdDSA)
	for {
		if err := await(t, results); err != nil && !errors.Is(err, token.ErrNoKeys) {
			t.Fatal(err)
		}
		if _, err := keys.Key(t.Context(), issuer.KeyID()); err == nil {
			break
		}
	}
	if _, err := keys.Key(t.Context(), old); refusal.ReasonOf(err) != refusal.KeyUnknown {
		t.Errorf("the withdrawn key: %v", err)
	}
}

func TestKeysComeWhenTheIssuerDoes(t *testing.T) {
	issuer := issuertest.New(t)
	issuer.Down(true)
	told, results := fetches()
	keys := running(t, token.KeySetOptions{Issuer: issuer.URL, Fetched: told})
	if err := await(t, results); err == nil {
		t.Fatal("an issuer that is down gave keys")
	}
	if !keys.Fetched().IsZero() {
		t.Error("keys were fetched")
	}
	issuer.Down(false)
	for await(t, results) != nil {
	}
	<-keys.Loaded()
	if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
		t.Error(err)
	}
}

func TestIssuerThatNamesItselfDifferentlyIsNotTrusted(t *testing.T) {
	issuer := issuertest.New(t)
	told, results := fetches()
	keys := running(t, token.KeySetOptions{Issuer: issuer.URL + "/", Fetched: told})
	if err := await(t, results); err == nil {
		t.Error("keys of another issuer were taken")
	}
	if !keys.Fetched().IsZero() {
		t.Error("keys were fetched")
	}
}
