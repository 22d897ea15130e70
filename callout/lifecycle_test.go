package callout_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(childKind); kind != "" {
		os.Exit(child(kind, os.Getenv(childConfig)))
	}
	goleak.VerifyTestMain(m)
}

func TestComesReadyWhenBrokerAndIssuerDo(t *testing.T) {
	f := newFleet(t)
	f.stopBroker()
	f.issuer.Down(true)
	c := startCallout(t, f.config(t, ""), io.Discard)
	expect := func(want string) {
		t.Helper()
		eventually(t, want, func() bool {
			status, text := c.get(t, "/readyz")
			return strings.Contains(text, want) && (status == http.StatusOK) == (want == "ok")
		})
		if status, _ := c.get(t, "/healthz"); status != http.StatusOK {
			t.Errorf("not alive: %d", status)
		}
	}
	expect("not connected to the broker")
	f.startBroker(t)
	expect("no keys of the issuer yet")
	f.issuer.Down(false)
	expect("ok")
	f.device(t, deviceA)

	// And again, whoever goes away.
	f.stopBroker()
	expect("not connected to the broker")
	f.startBroker(t)
	expect("ok")
	f.issuer.Down(true)
	expect("ok")
	f.device(t, deviceA)
}

// After a power cut everything starts at once, and the issuer, which is elsewhere, may
// be out of reach.
func TestAdmitsWithoutTheIssuerAfterARestart(t *testing.T) {
	f := newFleet(t)
	c := f.config(t, "")
	c.JWKSFile = filepath.Join(t.TempDir(), "jwks.json")
	first := startCallout(t, c, io.Discard)
	first.waitReady(t)
	f.device(t, deviceA)
	eventually(t, "the keys are written down", func() bool { _, err := os.Stat(c.JWKSFile); return err == nil })
	first.stop()
	known := f.issuer.Token(t, string(deviceA), "device", nil)
	f.issuer.Down(true)
	again := startCallout(t, c, io.Discard)
	again.waitReady(t)
	if !f.try(t, nats.Token(known)) {
		t.Error("a device with a token of before was refused")
	}
}

func TestStopFinishesWhatWasAccepted(t *testing.T) {
	for range 10 {
		if stopFinishes(t) {
			return
		}
	}
	t.Error("no request was let go in time")
}

// stopFinishes stops a callout while a request is under way, and returns false if it was
// let go so late, on a machine that is short of processor time, that the server may have
// given up.
func stopFinishes(t *testing.T) (inTime bool) {
	t.Helper()
	f := newFleet(t)
	log := new(lines)
	c := startCallout(t, f.config(t, ""), log)
	c.waitReady(t)
	// Hold requests up at the issuer, so that they are under way at the stop.
	letGo := f.issuer.Hold()
	f.issuer.Rotate(t, "ES256")
	token := f.issuer.Token(t, string(deviceA), "device", nil)
	connected, start := make(chan error, 1), time.Now()
	go func() {
		nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(5*time.Second))
		if err == nil {
			nc.Close()
		}
		connected <- err
	}()
	eventually(t, "the issuer is asked", func() bool { return f.issuer.Fetches.Load() == 2 })
	var stopped sync.WaitGroup
	stopped.Go(c.stop)
	eventually(t, "the callout is about to stop", func() bool { status, _ := c.get(t, "/readyz"); return status != http.StatusOK })
	inTime = time.Since(start) < protocol.CalloutBudget/2
	letGo()
	stopped.Wait()
	if err := <-connected; err != nil && inTime {
		t.Errorf("the request under way: %v", err)
	}
	if status, _ := c.get(t, "/healthz"); status != 0 {
		t.Errorf("health is still served: %d", status)
	}
	if !strings.Contains(log.String(), "The callout has stopped.") {
		t.Error("the stop is not logged")
	}
	return inTime
}

func TestStopWithoutBroker(t *testing.T) {
	f := newFleet(t)
	f.stopBroker()
	f.issuer.Down(true)
	startCallout(t, f.config(t, ""), io.Discard).stop()
}

func TestTakenAddressIsAnError(t *testing.T) {
	f := newFleet(t)
	c := f.config(t, "")
	c.HTTPAddress = strings.TrimPrefix(f.url, "nats://")
	if err := callout.Run(t.Context(), c, discard); err == nil || !strings.Contains(err.Error(), "http.address") {
		t.Errorf("got %v", err)
	}
}

// A connection ends with its token, and a client that has a fresh one is back.
func TestConnectionEndsWithItsToken(t *testing.T) {
	f := newFleet(t)
	f.ready(t, "")
	back, gone := make(chan struct{}, 8), make(chan error, 64)
	var admitted atomic.Bool
	options := []nats.Option{
		nats.TokenHandler(func() string {
			// In whole seconds, and no less than it takes to be admitted, as a rule.
			life := 3 * time.Second
			if admitted.Load() {
				life = time.Hour
			}
			return f.issuer.Token(t, string(deviceA), "device", map[string]any{"exp": time.Now().Add(life).Unix()})
		}),
		nats.IgnoreAuthErrorAbort(), nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond), nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { gone <- err }),
		nats.ReconnectHandler(func(*nats.Conn) { back <- struct{}{} }),
	}
	var nc *nats.Conn
	eventually(t, "it is admitted", func() (ok bool) {
		var err error
		nc, err = nats.Connect(f.url, options...)
		return err == nil
	})
	admitted.Store(true)
	defer nc.Close()
	select {
	case <-back:
	case <-time.After(deadline):
		t.Fatal("the connection outlived its token")
	}
	if err := <-gone; !strings.Contains(strings.ToLower(err.Error()), "expired") {
		t.Errorf("closed for %v", err)
	}
	if err := nc.Publish(protocol.HeartbeatSubject(deviceA), nil); err != nil {
		t.Error(err)
	}
}

// Whoever learns of a decision finds it written down: a callout that is killed
// right after it admitted somebody has that on record.
func TestDecisionIsWrittenDownBeforeItIsKnown(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	startCallout(t, f.config(t, ""), log).waitReady(t)
	good, bad := f.issuer.Token(t, string(deviceA), "device", nil), f.issuer.Token(t, string(deviceA), "billing", nil)
	known := 0
	for i := range 200 {
		token, want := good, "admitted"
		if i%2 == 1 {
			token, want = bad, "refused"
		}
		start := time.Now()
		err := f.attempt(nats.Token(token))
		if time.Since(start) > protocol.CalloutBudget {
			// On a machine that is short of processor time the server gives up by
			// itself, and the callout drops the request.
			eventually(t, "the decision is written down", func() bool { return len(log.decisions(t)) > i })
			continue
		}
		if err != nil && !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("connect: %v, want %v", err, nats.ErrAuthorization)
		}
		if all := log.decisions(t); len(all) != i+1 || all[i].Result != want {
			t.Fatalf("after connection %d there are %d audit lines, want one more, %q", i, len(all), want)
		}
		known++
	}
	if known == 0 {
		t.Error("no decision was known in time")
	}
}

func TestRotationAndOutage(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	c := startCallout(t, f.config(t, `keys_min_wait = "100ms"`), log)
	c.waitReady(t)
	known := f.issuer.Token(t, string(deviceA), "device", nil)

	f.issuer.Rotate(t, "ES256")
	f.device(t, deviceA)

	f.issuer.Down(true)
	f.device(t, deviceB)
	if !f.try(t, nats.Token(known)) {
		t.Error("a token with the earlier key was refused while the issuer is down")
	}
	f.issuer.Rotate(t, "EdDSA")
	unknown := f.issuer.Token(t, string(deviceA), "device", nil)
	// The issuer is not asked again right after it gave its keys.
	eventually(t, "that the key cannot be had is written down", func() bool {
		if f.try(t, nats.Token(unknown)) {
			t.Error("a token with an unknown key was admitted")
		}
		all := log.decisions(t)
		return all[len(all)-1].Reason == string(refusal.KeysUnavailable)
	})

	f.issuer.Down(false)
	fresh := f.issuer.Token(t, string(deviceA), "device", nil)
	eventually(t, "the new key is known", func() bool { return f.try(t, nats.Token(fresh)) })
}
