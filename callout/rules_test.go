package callout_test

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/protocol"
)

// rulesOfFour grants each template to a role of its own.
const rulesOfFour = `
[[rule]]
name = "devices"
role = "device"
template = "device"
account = "DEVICES"
id = "sub"
[[rule]]
name = "admins"
role = "fleet-admin"
template = "admin"
account = "DEVICES"
id = "sub"
[[rule]]
name = "observers"
role = "watch"
template = "observer"
account = "DEVICES"
id = "client_id"
[[rule]]
name = "exporters"
role = "export"
template = "service"
account = "STATE"
id = "sub"
`

// newRuled is a stage whose callout decides by rulesOfFour.
func newRuled(t *testing.T) *stage {
	t.Helper()
	return newStageBy(t, func(s *stage) {
		s.config(t, "")
		rules, file := filepath.Join(s.dir, "rules.toml"), filepath.Join(s.dir, "callout.toml")
		if err := os.WriteFile(rules, []byte(rulesOfFour), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, fmt.Appendf(nil, "rules_file = %q\n%s", rules, text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		startCallout(t, c, io.Discard).waitReady(t)
	})
}

func TestObserverReadsAndHearsAndDoesNothing(t *testing.T) {
	s := newRuled(t)
	device := s.device(t, deviceA)
	o := s.connect(t, "observer", "watch", protocol.ObserverInboxPrefix("observer"))
	doorbells, heartbeats := listen(t, o.Conn, protocol.AllDoorbells), listen(t, o.Conn, protocol.AllHeartbeats)

	readable := protocol.ObserverPermissions("observer").Publish
	for _, bucket := range protocol.Buckets() {
		if !slices.Contains(readable, bucket.DirectGets()) {
			continue // of the callout's own
		}
		for _, id := range []protocol.DeviceID{deviceA, deviceB} {
			want := fmt.Sprintf("%s of %s", bucket, id)
			if bucket == protocol.BucketDenied {
				want = "" // nobody is
			}
			if msg := o.ask(t, bucket.DirectGet(id), nil); string(msg.Data) != want {
				t.Errorf("read %q of %s in %s", msg.Data, id, bucket)
			}
		}
	}
	if err := device.Publish(protocol.HeartbeatSubject(deviceA), []byte("alive")); err != nil {
		t.Fatal(err)
	}
	if msg := next(t, heartbeats); string(msg.Data) != "alive" {
		t.Errorf("heard %q", msg.Data)
	}
	if _, err := s.js.Publish(t.Context(), protocol.BucketDesired.Subject(deviceB), []byte("more")); err != nil {
		t.Fatal(err)
	}
	if msg := next(t, doorbells); msg.Subject != protocol.DoorbellSubject(deviceB) {
		t.Errorf("heard %s", msg.Subject)
	}
	o.quiet(t)

	before := s.kept(t)
	for _, subject := range []string{
		protocol.AllDevices, protocol.AllCommands, protocol.CommandSubject(deviceA, "*"), "_INBOX_ADMIN.>", protocol.AdminInboxPrefix("observer") + ".>",
		protocol.InboxPrefix(deviceA) + ".>", protocol.ObserverInboxPrefix("other") + ".>", "_INBOX_OBSERVER.>",
		"$KV.>", protocol.BucketStatus.Subjects(), "$JS.>", "$SYS.>", "_R_.>", ">",
	} {
		t.Run("hear "+subject, func(t *testing.T) {
			if _, err := o.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			o.violation(t, "Subscription to", subject)
		})
	}
	for _, subject := range []string{
		protocol.CommandSubject(deviceA, protocol.VerbPing), protocol.CommandSubject(deviceA, protocol.VerbReconcile),
		protocol.HeartbeatSubject(deviceA), protocol.DoorbellSubject(deviceA), protocol.InboxPrefix(deviceA) + ".x", protocol.AdminInboxPrefix("admin") + ".x",
		protocol.BucketDesired.Subject(deviceA), protocol.BucketInfo.Subject(deviceA), protocol.BucketStatus.Subject(deviceA),
		"$JS.API.INFO", "$JS.API.STREAM.INFO." + protocol.BucketStatus.Stream(), "$JS.API.STREAM.DELETE." + protocol.BucketStatus.Stream(),
		"$JS.API.CONSUMER.CREATE." + protocol.BucketStatus.Stream(), "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING.CONNZ",
	} {
		t.Run("publish "+subject, func(t *testing.T) {
			if err := o.PublishRequest(subject, protocol.ObserverInboxPrefix("observer")+".y", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			o.violation(t, "Publish to", subject)
		})
	}
	// What it reads it may have answered anywhere; that must change nothing.
	streams := s.streams(t)
	for _, a := range append(adminAnswers(deviceA), answer{"an empty error", protocol.BucketStatus.DirectGet("nobody"), ""}) {
		for _, target := range harmful(deviceA, deviceB) {
			o.reflect(t, a, target)
		}
	}
	o.quiet(t)
	if after := s.kept(t); !maps.Equal(before, after) {
		t.Errorf("what is kept changed from\n%v to\n%v", before, after)
	}
	if after := s.streams(t); !slices.Equal(streams, after) {
		t.Errorf("the streams changed from %v to %v", streams, after)
	}
}

func TestServiceHearsWhatDevicesSayAndAsksForNothing(t *testing.T) {
	s := newRuled(t)
	device := s.device(t, deviceA)
	service := s.connect(t, "exporter", "export", protocol.ServiceInboxPrefix("exporter"))
	for subject, says := range map[string]string{
		protocol.HeartbeatSubject(deviceA):     "alive",
		protocol.BucketInfo.Subject(deviceA):   "info",
		protocol.BucketStatus.Subject(deviceA): "status",
	} {
		heard := listen(t, service.Conn, subject)
		if subject == protocol.HeartbeatSubject(deviceA) {
			if err := device.Publish(subject, []byte(says)); err != nil {
				t.Fatal(err)
			}
		} else {
			device.ask(t, subject, []byte(says)) // until it is kept
		}
		if msg := next(t, heard); string(msg.Data) != says {
			t.Errorf("heard %q on %s", msg.Data, subject)
		}
	}
	own := listen(t, service.Conn, protocol.ServiceInboxPrefix("exporter")+".x")
	if err := service.Publish(own.Subject, nil); err != nil {
		t.Fatal(err)
	}
	next(t, own)
	service.quiet(t)

	before, streams := s.kept(t), s.streams(t)
	for _, subject := range []string{
		protocol.BucketDesired.Subjects(), "$KV.>", "$KV.*.device-a", protocol.AllDoorbells, protocol.AllCommands, protocol.AllDevices,
		"_INBOX.>", "_INBOX_SERVICE.>", protocol.ServiceInboxPrefix("other") + ".>", "_R_.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>", "$SYS.>", "$SYS.REQ.USER.AUTH", "$NRG.>", ">",
	} {
		t.Run("hear "+subject, func(t *testing.T) {
			if _, err := service.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			service.violation(t, "Subscription to", subject)
		})
	}
	for _, subject := range append(harmful(deviceA, deviceB),
		protocol.BucketDesired.DirectGet(deviceA), protocol.BucketStatus.DirectGet(deviceA), "$JS.API.INFO", "$JS.API.STREAM.INFO."+protocol.BucketStatus.Stream(),
		"$JS.API.STREAM.MSG.GET."+protocol.BucketStatus.Stream(), "$JS.API.CONSUMER.MSG.NEXT."+protocol.BucketStatus.Stream()+".x",
		protocol.HeartbeatSubject(deviceA), protocol.DoorbellSubject(deviceA), protocol.CommandSubject(deviceA, protocol.VerbPing),
		protocol.ServiceInboxPrefix("other")+".x", "_INBOX.x",
	) {
		t.Run("publish "+subject, func(t *testing.T) {
			if err := service.PublishRequest(subject, protocol.ServiceInboxPrefix("exporter")+".y", nil); err != nil {
				t.Fatal(err)
			}
			service.violation(t, "Publish to", subject)
		})
	}
	if after := s.kept(t); !maps.Equal(before, after) {
		t.Errorf("what is kept changed from\n%v to\n%v", before, after)
	}
	if after := s.streams(t); !slices.Equal(streams, after) {
		t.Errorf("the streams changed from %v to %v", streams, after)
	}
}

// Why a service may not read: in its account, a read of what is not there, answered
// onto the right subject, deletes a stream.
func TestReadWithinStateDeletesAStream(t *testing.T) {
	s := newStage(t)
	stream := protocol.BucketInfo.Stream()
	if err := s.operator.PublishRequest(protocol.BucketStatus.DirectGet("nobody"), "$JS.API.STREAM.DELETE."+stream, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is gone", func() bool { return !slices.Contains(s.streams(t), stream) })
}

func TestRulesDecideWhoIsWhat(t *testing.T) {
	s := newRuled(t)
	for role, want := range map[string]bool{"device": true, "fleet-admin": true, "watch": true, "export": true, "billing": false} {
		nc, err := nats.Connect(s.url, nats.Token(s.issuer.Token(t, "somebody", role, nil)), nats.Timeout(deadline))
		if err == nil {
			nc.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: %v", role, err)
		}
	}
}
