package operatortest

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

// A desired state is there unless it is marked as deleted: other marks, which some
// clients put on values, take nothing away.
func TestDesiredIsThereUnlessItIsDeleted(t *testing.T) {
	broker, err := StartBroker(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Stop)
	devices, err := NewDevices(broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(devices.Close)
	bucket := jetstream.StreamConfig{
		Name: protocol.BucketDesired.Stream(), Subjects: []string{protocol.BucketDesired.Subject(">")}, AllowDirect: true,
	}
	if _, err := devices.js.CreateStream(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	const id = protocol.DeviceID("device-1")
	document, err := (&protocol.DesiredState{Version: protocol.Version, Device: id, Containers: []protocol.Container{}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for mark, there := range map[string]bool{"": true, "PUT": true, "DEL": false, "PURGE": false} {
		message := &nats.Msg{Subject: protocol.BucketDesired.Subject(id), Data: document}
		if mark != "" {
			message.Header = nats.Header{"KV-Operation": {mark}}
		}
		ack, err := devices.js.PublishMsg(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		state, revision, err := devices.Desired(t.Context(), id)
		if err != nil || (state != nil) != there || revision != ack.Sequence {
			t.Errorf("with mark %q it is %+v at revision %d, %v", mark, state, revision, err)
		}
	}
}
