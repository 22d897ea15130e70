package agent

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/agent/config"
	"github.com/seatrial/seatrial/agent/facts"
	"github.com/seatrial/seatrial/agent/internal/brokertest"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

// Who may read a device's desired state can have the broker put it onto the device's
// doorbell. When that was written says nothing of the device's clock.
func TestOnlyTheBellTellsTheTime(t *testing.T) {
	const id = protocol.DeviceID("device-1")
	broker := brokertest.Start(t, issuertest.New(t))
	device, admin := broker.Device(id), broker.Admin("alice")
	rings, err := device.SubscribeSync(protocol.DoorbellSubject(id))
	if err == nil {
		err = device.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	next := func() *nats.Msg {
		t.Helper()
		msg, err := rings.NextMsg(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		// The longer ago it was written, the further ahead the clock would seem.
		msg.Header.Set(protocol.HeaderTime, time.Now().Add(-time.Hour).Format(time.RFC3339Nano))
		return msg
	}
	broker.Put(&protocol.DesiredState{Version: protocol.Version, Device: id})
	rung := next()
	if err := admin.PublishRequest(protocol.BucketDesired.DirectGet(id), protocol.DoorbellSubject(id), nil); err != nil {
		t.Fatal(err)
	}
	reflected := next()
	for name, c := range map[string]struct {
		msg  *nats.Msg
		want time.Duration
	}{"the bell": {rung, time.Hour}, "an answer": {reflected, 0}} {
		a := &agent{config: &config.Config{Device: id}, clock: facts.NewClock(func() {})}
		a.readClock(c.msg)
		if got := a.clock.Offset(); (got - c.want).Abs() > time.Minute {
			t.Errorf("%s: the clock is taken to be ahead by %s, want %s: %v", name, got, c.want, c.msg.Header)
		}
	}
}
