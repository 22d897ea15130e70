package callout_test

import (
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
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

// A server that the others do not reach keeps the connections that it has. Who is
// denied meanwhile is thrown out there as soon as it is reached again.
func TestDeniedDeviceIsThrownOutOfAServerThatComesBack(t *testing.T) {
	f := newFleet(t, clustered)
	// The callout and the operator are where the deny list is, the device is elsewhere.
	near, far, elsewhere := *f, *f, f.peer
	far.url = f.peerURL
	if f.leader(t, protocol.BucketDenied.Stream()) == "peer" {
		near, far, elsewhere = far, near, f.broker
	}
	near.ready(t, "")
	victim := far.stubborn(t, deviceA)
	if victim.ConnectedServerId() != elsewhere.ID() {
		t.Fatalf("the device is connected to %s", victim.ConnectedServerName())
	}
	system := near.connectNKey(t, f.admin)
	defer system.Close()
	looks, err := system.SubscribeSync(protocol.ConnectionsSubject(protocol.AccountDevices))
	if err != nil {
		t.Fatal(err)
	}
	if err := system.FlushTimeout(deadline); err != nil {
		t.Fatal(err)
	}
	for _, way := range f.between {
		way.cut(true)
	}
	eventually(t, "the servers have lost each other", func() bool { return f.broker.NumRoutes() == 0 && f.peer.NumRoutes() == 0 })
	near.deny(t, deviceA)
	// It is looked for as long as somebody may have been admitted just before.
	for range 4 {
		next(t, looks)
	}
	if victim.gone.Load() > 0 {
		t.Fatal("it was thrown out of a server that nobody reaches")
	}
	for _, way := range f.between {
		way.cut(false)
	}
	eventually(t, "it is thrown out", func() bool { return victim.gone.Load() > 0 })
}

// leader is the server that holds a stream.
func (f *fleet) leader(t *testing.T, stream string) string {
	t.Helper()
	operator := f.connectNKey(t, f.operator)
	defer operator.Close()
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	found, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return found.CachedInfo().Cluster.Leader
}
