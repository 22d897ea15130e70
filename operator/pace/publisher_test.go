package pace

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

const deadline = 30 * time.Second

// rig is a publisher on a broker, with devices that need not exist.
type rig struct {
	*testing.T
	broker    *operatortest.Broker
	nc        *nats.Conn
	store     *bucket.Store
	table     *fleet.Table
	publisher *Publisher
	synced    bool
	clock     time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{T: t, table: fleet.NewTable(time.Minute), clock: time.Now(), synced: true}
	var err error
	r.broker, err = operatortest.StartBroker(t.TempDir())
	r.must(err)
	t.Cleanup(r.broker.Stop)
	r.nc, err = r.broker.Connect()
	r.must(err)
	t.Cleanup(r.nc.Close)
	r.store, err = bucket.NewStore(r.nc)
	r.must(err)
	r.must(r.store.Ensure(t.Context()))
	r.publisher = NewPublisher(r.nc, r.store, r.table, func() bool { return r.synced }, 400)
	r.publisher.now = func() time.Time { return r.clock }
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// devices are as many as have said what they are, and live.
func (r *rig) devices(n int) {
	for i := range n {
		id := protocol.DeviceID(fmt.Sprintf("device-%d", i))
		r.table.SetInfo(id, &protocol.DeviceInfo{Version: protocol.Version, Device: id})
		r.table.Heartbeat(id, r.clock)
	}
	for _, id := range r.table.IDs()[min(n, len(r.table.IDs())):] {
		r.table.SetInfo(id, nil)
	}
}

// round has the publisher publish, and returns what is published then.
func (r *rig) round() *protocol.FleetSettings {
	r.Helper()
	r.must(r.publisher.Publish(r.Context()))
	settings, _, err := r.publisher.published(r.Context())
	r.must(err)
	return settings
}

func (r *rig) want(what string, got *protocol.FleetSettings, devices, rate int) {
	r.Helper()
	want := protocol.FleetSettings{
		Version: protocol.Version, SpreadMillis: protocol.SpreadFor(devices, rate).Milliseconds(), Devices: devices, AdmissionsPerSecond: rate,
	}
	if got == nil || *got != want {
		r.Errorf("%s: %+v is published, want %+v", what, got, want)
	}
}

func TestSpreadFollowsTheFleet(t *testing.T) {
	r := newRig(t)
	r.synced = false
	r.devices(2000)
	if got := r.round(); got != nil {
		t.Errorf("%+v is published before all devices are known", got)
	}
	r.synced = true
	r.want("first", r.round(), 2000, 400)
	r.devices(2100)
	r.want("a few more", r.round(), 2000, 400)
	r.devices(4000)
	r.want("twice as many", r.round(), 4000, 400)
}

// A broker that lost its memory knows few devices at first: they must not hear
// that they are few.
func TestSpreadIsNotShortenedAtOnce(t *testing.T) {
	r := newRig(t)
	r.devices(4000)
	r.round()
	for id := range 3000 {
		r.table.SetInfo(protocol.DeviceID(fmt.Sprintf("device-%d", id)), nil)
	}
	r.want("at once", r.round(), 4000, 400)
	r.clock = r.clock.Add(shrinkAfter - time.Second)
	r.want("soon", r.round(), 4000, 400)
	r.devices(4000)
	r.want("they are back", r.round(), 4000, 400)
	for id := range 3000 {
		r.table.SetInfo(protocol.DeviceID(fmt.Sprintf("device-%d", id)), nil)
	}
	r.clock = r.clock.Add(2 * time.Second)
	r.want("gone again", r.round(), 4000, 400)
	r.clock = r.clock.Add(shrinkAfter)
	r.want("gone for good", r.round(), 1000, 400)
}

func TestWhatCannotBeReadIsWrittenAnew(t *testing.T) {
	r := newRig(t)
	_, err := r.store.Put(t.Context(), protocol.BucketSettings, protocol.SettingsKey, []byte("{"), 0)
	r.must(err)
	r.devices(100)
	r.want("after a document that is none", r.round(), 100, 400)
}

// The broker is lost and back, and the fleet with it: what was seen is published,
// and known to the next operator.
func TestRateIsMeasuredAndKept(t *testing.T) {
	r := newRig(t)
	r.devices(2000)
	r.want("before", r.round(), 2000, 400)
	r.publisher.begin()
	comeBack(&r.publisher.Gauge, r.clock, 2000, 8*time.Second)
	r.clock = r.clock.Add(8 * time.Second)
	r.want("after", r.round(), 2000, 250)
	other := NewPublisher(r.nc, r.store, r.table, func() bool { return true }, 9999)
	r.must(other.Publish(t.Context()))
	r.want("another operator", r.round(), 2000, 250)
}

func TestNothingIsPublishedWhileTheBrokerIsAway(t *testing.T) {
	r := newRig(t)
	r.devices(minStorm)
	lost := r.nc.StatusChanged(nats.RECONNECTING)
	defer r.nc.RemoveStatusListener(lost)
	r.broker.Stop()
	select {
	case <-lost:
	case <-time.After(deadline):
		t.Fatal("the loss of the broker is not noticed")
	}
	if err := r.publisher.Publish(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPublisherSeesTheOutage(t *testing.T) {
	r := newRig(t)
	r.devices(minStorm)
	r.round()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.publisher.Start(ctx) }()
	storms := func() bool {
		r.publisher.Gauge.mu.Lock()
		defer r.publisher.Gauge.mu.Unlock()
		return r.publisher.Gauge.storm != nil
	}
	for end := time.Now().Add(deadline); !storms(); {
		if time.Now().After(end) {
			t.Fatal("the outage is not seen")
		}
		back := r.nc.StatusChanged(nats.CONNECTED)
		r.broker.Stop()
		r.must(r.broker.Start())
		select {
		case <-back:
		case <-time.After(deadline):
			t.Fatal("the connection does not come back")
		}
		r.nc.RemoveStatusListener(back)
		for again := time.Now().Add(time.Second); !storms() && time.Now().Before(again); {
			<-time.After(10 * time.Millisecond)
		}
	}
	cancel()
	r.must(<-done)
}

// That our own connection was renewed brings no device back, and measures nothing: the
// heartbeats that go on would be taken for a fleet that returns.
func TestOurOwnConnectionIsNoOutage(t *testing.T) {
	r := newRig(t)
	r.publisher.restarted()
	for _, step := range []struct {
		name  string
		renew func()
		want  bool
	}{
		{"our connection was lost", func() { r.must(r.nc.ForceReconnect()) }, false},
		{"the broker was lost", func() { r.broker.Stop(); r.must(r.broker.Start()) }, true},
		{"our connection was lost again", func() { r.must(r.nc.ForceReconnect()) }, false},
	} {
		back := r.nc.StatusChanged(nats.CONNECTED)
		step.renew()
		select {
		case <-back:
		case <-time.After(deadline):
			t.Fatalf("%s: the connection does not come back", step.name)
		}
		r.nc.RemoveStatusListener(back)
		if got := r.publisher.restarted(); got != step.want {
			t.Errorf("%s: the fleet is taken to come back: %t, want %t", step.name, got, step.want)
		}
	}
}
