package callout_test

import (
	"slices"
	"testing"
	"time"
)

// Where the broker is a cluster, a callout that is connected to one of its servers
// decides about those who come to another, and throws them out there: the servers of
// a cluster answer for their own connections alone.
func TestDeniedDeviceIsThrownOutOfAnotherServer(t *testing.T) {
	f := newFleet(t, clustered)
	log := new(lines)
	c := startCallout(t, f.config(t, ""), log)
	c.waitReady(t)
	there := *f
	there.url = f.peerURL
	victim, beside, here := there.stubborn(t, deviceA), there.stubborn(t, deviceB), f.stubborn(t, "device-c")
	if victim.ConnectedServerId() != f.peer.ID() || here.ConnectedServerId() != f.broker.ID() {
		t.Fatalf("the devices are connected to %s and %s", victim.ConnectedServerName(), here.ConnectedServerName())
	}

	start := time.Now()
	f.deny(t, deviceA)
	eventually(t, "it is thrown out of the other server", func() bool { return victim.gone.Load() > 0 })
	t.Logf("thrown out after %s", time.Since(start))
	eventually(t, "it is refused again and again", func() bool { return victim.refused.Load() > 5 })
	if victim.back.Load() > 0 {
		t.Error("it was admitted again")
	}
	// The server answers that it closed a connection after it did.
	eventually(t, "that it was thrown out there is on record", func() bool {
		return slices.ContainsFunc(log.decisions(t), func(d decision) bool {
			return d.denied(deviceA, "expelled") && d.Server == f.peer.ID()
		})
	})
	f.admit(t, deviceA)
	eventually(t, "it is back by itself", func() bool { return victim.back.Load() > 0 })
	if beside.gone.Load()+here.gone.Load() > 0 {
		t.Error("another device was thrown out")
	}
}
