package controller

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// TestSilenceIsNoticedOverAConnectionThatFlaps has the operator's own connection renewed
// at any pace, and once: a device that is silent is missing after a time that is known,
// and one that is not never is.
func TestSilenceIsNoticedOverAConnectionThatFlaps(t *testing.T) {
	const (
		timeout, spread = 15 * time.Second, 27 * time.Second
		most            = 2*(timeout+spread) + look
	)
	for name, every := range map[string]time.Duration{
		"every second": time.Second, "twice in a timeout": timeout / 2, "once in a timeout": timeout,
		"once in a spread": spread, "just before it is noticed": timeout + spread - time.Second, "once": time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				table := fleet.NewTable(timeout)
				events := NewEvents(table)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				began := time.Now()
				go events.Expire(ctx, func() (uint64, bool) { return 1 + uint64(time.Since(began)/every), true }, func() time.Duration { return spread })
				beat := func(id protocol.DeviceID) {
					t.Helper()
					data, err := (&protocol.Heartbeat{Version: protocol.Version, Device: id, Time: time.Now(), Sequence: 1}).Encode()
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := events.Heartbeat(&nats.Msg{Subject: protocol.HeartbeatSubject(id), Data: data}); !ok {
						t.Fatal("the heartbeat is none")
					}
				}
				beat("silent")
				for time.Since(began) < 2*most {
					beat("alive")
					<-time.After(5 * time.Second)
					synctest.Wait()
					if !table.Get("alive").Alive {
						t.Fatalf("a device that is heard is missing after %s", time.Since(began))
					}
					silent, since := !table.Get("silent").Alive, time.Since(began)
					switch {
					case silent && since <= timeout:
						t.Fatalf("a device is missing after %s", since)
					case !silent && since > most:
						t.Fatalf("a silent device is not missing after %s", since)
					case silent && every == time.Hour && since <= timeout+spread:
						t.Fatalf("a device is missing before its turn, after %s", since)
					}
				}
			})
		})
	}
}
