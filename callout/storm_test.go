package callout_test

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// burst connects n devices at once with tokens that make returns, and returns
// how many were admitted. Admitted connections are closed at the end.
func (f *fleet) burst(t *testing.T, n int, token func(protocol.DeviceID) string) int64 {
	t.Helper()
	tokens := make([]string, n)
	for i := range n {
		tokens[i] = token(protocol.DeviceID(fmt.Sprintf("device-%d", i)))
	}
	var admitted atomic.Int64
	var all sync.WaitGroup
	for _, token := range tokens {
		all.Go(func() {
			nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(5*time.Second))
			if err == nil {
				admitted.Add(1)
				nc.Close()
			}
		})
	}
	all.Wait()
	return admitted.Load()
}

func (f *fleet) deviceToken(t *testing.T) func(protocol.DeviceID) string {
	return func(id protocol.DeviceID) string { return f.issuer.Token(t, string(id), "device", nil) }
}

// A burst whose key is not known meets an issuer that does not answer. Nobody is
// admitted late, nobody whose key is known waits for the others, and when the
// issuer is back so is everyone.
func TestBurstOnASlowIssuer(t *testing.T) {
	const devices = 500
	f := newFleet(t)
	log := new(lines)
	c := startCallout(t, f.config(t, `keys_min_wait = "100ms"`), log)
	c.waitReady(t)
	known, knownKey := f.issuer.Token(t, string(deviceA), "device", nil), f.issuer.KeyID()

	f.issuer.Rotate(t, "ES256")
	letGo := f.issuer.Hold()
	var others sync.WaitGroup
	others.Go(func() {
		if n := f.burst(t, devices, f.deviceToken(t)); n != 0 {
			t.Errorf("%d of the burst were admitted with a key nobody could know", n)
		}
	})
	eventually(t, "the issuer is asked", func() bool { return f.issuer.Fetches.Load() >= 2 })
	// The issuer hangs until long after this. A server that is short of processor
	// time gives up on a connection by itself; a device then tries again.
	for range 20 {
		eventually(t, "a device with a known key is admitted meanwhile", func() bool {
			nc, err := nats.Connect(f.url, nats.Token(known), nats.Timeout(5*time.Second))
			if err == nil {
				nc.Close()
			}
			return err == nil
		})
	}
	others.Wait()
	for _, d := range log.decisions(t) {
		if d.KeyID == knownKey && d.Result != "admitted" && d.Reason != string(refusal.Stale) {
			t.Errorf("a known key made to wait for the issuer: %+v", d)
		}
		if d.Result == "admitted" && time.Duration(d.Latency) > protocol.CalloutBudget {
			t.Errorf("admitted after %s", time.Duration(d.Latency))
		}
		if d.Result != "admitted" && d.Reason != string(refusal.KeysUnavailable) && d.Reason != string(refusal.Stale) && d.Reason != string(refusal.KeyUnknown) {
			t.Errorf("written down as %+v", d)
		}
	}

	letGo()
	fresh := f.issuer.Token(t, string(deviceA), "device", nil)
	eventually(t, "the new key is known", func() bool {
		nc, err := nats.Connect(f.url, nats.Token(fresh), nats.Timeout(5*time.Second))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

func TestFloodOfInventedKeysSparesTheIssuer(t *testing.T) {
	const devices = 200
	f := newFleet(t)
	f.ready(t, `keys_min_wait = "1h"`)
	stranger := newFleet(t)
	stranger.issuer.Rotate(t, "ES256") // under the id of no key of the issuer
	if n := f.burst(t, devices, stranger.deviceToken(t)); n != 0 {
		t.Errorf("%d strangers were admitted", n)
	}
	if n := f.issuer.Fetches.Load(); n > 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
	f.device(t, deviceA)
}

// A queue of one sheds most of a burst; those who try again get in, and the
// callout is none the worse for it.
func TestBurstOnAFullQueue(t *testing.T) {
	const devices = 60
	f := newFleet(t)
	c := startCallout(t, f.config(t, "workers = 1\nqueue = 1"), io.Discard)
	c.waitReady(t)
	var all sync.WaitGroup
	for i := range devices {
		all.Go(func() {
			token := f.issuer.Token(t, fmt.Sprintf("device-%d", i), "device", nil)
			for end := time.Now().Add(2 * deadline); ; {
				nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(5*time.Second))
				if err == nil {
					nc.Close()
					return
				}
				if time.Now().After(end) {
					t.Errorf("device %d was never admitted: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// Two callouts share the requests, and either can go.
func TestTwoCallouts(t *testing.T) {
	f := newFleet(t)
	logs := []*lines{new(lines), new(lines)}
	first := startCallout(t, f.config(t, ""), logs[0])
	second := startCallout(t, f.config(t, ""), logs[1])
	first.waitReady(t)
	second.waitReady(t)
	witness := f.connectNKey(t, f.caller)
	requests := listen(t, witness, "$SYS.REQ.USER.AUTH")
	connections, admitted := 0, int64(0)
	burst := func(n int) {
		connections += n
		admitted += f.burst(t, n, f.deviceToken(t))
	}
	// A machine that is short of processor time makes a callout drop what waited
	// too long, and the server give up by itself, before it has asked or after: that is
	// no request lost. It may befall a whole burst; one that comes alone gets in.
	answered := func() {
		t.Helper()
		before := admitted
		eventually(t, "a device is admitted", func() bool {
			burst(1)
			return admitted > before
		})
		var all []decision
		asked := 0
		eventually(t, "as many decisions as requests", func() bool {
			all = append(logs[0].decisions(t), logs[1].decisions(t)...)
			err := witness.Flush()
			if err == nil {
				asked, _, err = requests.Pending()
			}
			if err != nil {
				t.Fatal(err)
			}
			return len(all) == asked
		})
		granted := 0
		for _, d := range all {
			if d.Result == "admitted" {
				granted++
			} else if d.Reason != string(refusal.Stale) {
				t.Errorf("a good token: %+v", d)
			}
		}
		if asked > connections || admitted > int64(granted) {
			t.Errorf("of %d connections %d were admitted, by %d grants among %d decisions", connections, admitted, granted, asked)
		}
	}
	burst(100)
	answered()
	for i, log := range logs {
		if len(log.decisions(t)) == 0 {
			t.Errorf("callout %d was asked nothing", i)
		}
	}
	// No request is lost to the one that goes.
	var others sync.WaitGroup
	others.Go(func() {
		for range 5 {
			burst(20)
		}
	})
	first.stop()
	others.Wait()
	answered()
}

// Clients that gave up are not admitted when the callout is back.
func TestNobodyIsAdmittedWhoHasGone(t *testing.T) {
	f := newFleet(t)
	if f.tryUnanswered(t, nats.Token(f.issuer.Token(t, string(deviceA), "device", nil))) {
		t.Error("admitted without a callout")
	}
	log := new(lines)
	startCallout(t, f.config(t, ""), log).waitReady(t)
	if all := log.decisions(t); len(all) > 0 {
		t.Errorf("decided about those who had gone: %+v", all)
	}
	f.device(t, deviceA)
}
