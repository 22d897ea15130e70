package callout_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

const (
	deviceA protocol.DeviceID = "device-a"
	deviceB protocol.DeviceID = "device-b"
)

// stage is a fleet with a callout, an operator, and documents of two devices.
type stage struct {
	*fleet
	operator *nats.Conn
	js       jetstream.JetStream
}

func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageBy(t, func(s *stage) { s.ready(t, "") })
}

// newStageBy is a stage whose callout start starts.
func newStageBy(t *testing.T, start func(*stage)) *stage {
	t.Helper()
	s := &stage{fleet: newFleet(t)}
	s.operator = s.connectNKey(t, s.fleet.operator)
	s.js = createBuckets(t, s.operator)
	for _, bucket := range protocol.Buckets() {
		ids := []protocol.DeviceID{deviceA, deviceB}
		if bucket == protocol.BucketDenied {
			ids = []protocol.DeviceID{"device-gone"} // whoever is in it may not connect
		}
		for _, id := range ids {
			if _, err := s.js.Publish(t.Context(), bucket.Subject(id), fmt.Appendf(nil, "%s of %s", bucket, id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	start(s)
	return s
}

// kept is what the broker keeps: of every key, its sequence and content.
func (s *stage) kept(t *testing.T) map[string]string {
	t.Helper()
	kept := make(map[string]string)
	for _, bucket := range protocol.Buckets() {
		stream, err := s.js.Stream(t.Context(), bucket.Stream())
		if err != nil {
			t.Fatalf("%s: %v", bucket, err)
		}
		info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			t.Fatal(err)
		}
		for subject := range info.State.Subjects {
			msg, err := stream.GetLastMsgForSubject(t.Context(), subject)
			if err != nil {
				t.Fatal(err)
			}
			kept[subject] = fmt.Sprintf("%d %s", msg.Sequence, msg.Data)
		}
	}
	return kept
}

// streams are the names of all streams.
func (s *stage) streams(t *testing.T) (names []string) {
	t.Helper()
	for name := range s.js.StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	return names
}

// unwritten returns what of kept the device may not write.
func unwritten(kept map[string]string, id protocol.DeviceID) map[string]string {
	rest := maps.Clone(kept)
	delete(rest, protocol.BucketInfo.Subject(id))
	delete(rest, protocol.BucketStatus.Subject(id))
	return rest
}

// violation waits for the server to say that it refused what kind of operation
// on subject.
func (c *client) violation(t *testing.T, kind, subject string) {
	t.Helper()
	select {
	case err := <-c.errors:
		if !strings.Contains(err.Error(), fmt.Sprintf("Permissions Violation for %s %q", kind, subject)) {
			t.Fatalf("got %q, want one for %s %q", err, kind, subject)
		}
	case <-time.After(deadline):
		t.Fatalf("no violation for %s to %q", kind, subject)
	}
}

// quiet fails if the server refused anything: what it must refuse now is then not
// the first that it did.
func (c *client) quiet(t *testing.T) {
	t.Helper()
	const forbidden = "for.nobody"
	if err := c.Publish(forbidden, nil); err != nil {
		t.Fatal(err)
	}
	c.violation(t, "Publish to", forbidden)
}

// ask makes a request and returns its answer.
func (c *client) ask(t *testing.T, subject string, data []byte) *nats.Msg {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	msg, err := c.RequestWithContext(ctx, subject, data)
	if err != nil {
		t.Fatalf("ask %s: %v", subject, err)
	}
	return msg
}

// listen subscribes and waits until the server knows.
func listen(t *testing.T, nc *nats.Conn, subject string) *nats.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func next(t *testing.T, sub *nats.Subscription) *nats.Msg {
	t.Helper()
	msg, err := sub.NextMsg(deadline)
	if err != nil {
		t.Fatalf("next message on %s: %v", sub.Subject, err)
	}
	return msg
}

func TestDeviceMaySubscribeToNothingOfAnother(t *testing.T) {
	s := newStage(t)
	a := s.device(t, deviceA)
	for _, subject := range []string{
		protocol.DoorbellSubject(deviceB),
		protocol.HeartbeatSubject(deviceB),
		protocol.CommandSubject(deviceB, protocol.VerbPing),
		protocol.CommandSubject(deviceB, "*"),
		"device.device-b.>", protocol.AllDevices, protocol.AllDoorbells, protocol.AllHeartbeats, protocol.AllCommands,
		"device.*.>", "*.*.desired", "*.device-a.desired", ">", "*", "*.>",
		protocol.InboxPrefix(deviceB) + ".>", protocol.InboxPrefix(deviceB) + ".x", "_INBOX.>", "_INBOX_*.>",
		protocol.AdminInboxPrefix("admin") + ".>", "_INBOX_ADMIN.>", "_INBOX_ADMIN.*.x",
		protocol.BucketDesired.Subject(deviceA), protocol.BucketDesired.Subject(deviceB),
		protocol.BucketStatus.Subjects(), protocol.BucketInfo.Subjects(), "$KV.>",
		protocol.BucketStatus.DirectGets(), "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>",
		"$SYS.>", "$SYS.REQ.USER.AUTH", "$SYS.ACCOUNT.>", "_R_.>", "_GR_.>", "$NRG.>",
		// What a device publishes, it does not hear.
		protocol.HeartbeatSubject(deviceA), protocol.BucketStatus.Subject(deviceA), protocol.BucketDesired.DirectGet(deviceA),
	} {
		t.Run(subject, func(t *testing.T) {
			if _, err := a.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
			a.violation(t, "Subscription to", subject)
			if _, err := a.QueueSubscribeSync(subject, "q"); err != nil {
				t.Fatal(err)
			}
			a.violation(t, "Subscription to", subject)
		})
	}
}

func TestDeviceMayPublishToNothingOfAnother(t *testing.T) {
	s := newStage(t)
	a := s.device(t, deviceA)
	before := s.kept(t)
	for _, subject := range []string{
		protocol.DoorbellSubject(deviceB), protocol.HeartbeatSubject(deviceB), protocol.CommandSubject(deviceB, protocol.VerbPing),
		protocol.DoorbellSubject(deviceA), protocol.CommandSubject(deviceA, protocol.VerbPing),
		protocol.InboxPrefix(deviceB) + ".x", protocol.InboxPrefix(deviceA) + ".x", "_INBOX.x", "_INBOX_ADMIN",
		protocol.BucketInfo.Subject(deviceB), protocol.BucketStatus.Subject(deviceB),
		protocol.BucketDesired.Subject(deviceB), protocol.BucketDesired.Subject(deviceA),
		protocol.BucketStatus.Subject(deviceA) + ".x", "$KV.mine.device-a",
		protocol.BucketDesired.DirectGet(deviceB), protocol.BucketInfo.DirectGet(deviceB), protocol.BucketStatus.DirectGet(deviceB),
		// A device reads back nothing that it wrote: it could reflect it.
		protocol.BucketInfo.DirectGet(deviceA), protocol.BucketStatus.DirectGet(deviceA),
		"$JS.API.DIRECT.GET." + protocol.BucketDesired.Stream(),
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST",
		"$JS.API.STREAM.INFO." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.MSG.GET." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.MSG.DELETE." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.PURGE." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.UPDATE." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.DELETE." + protocol.BucketDesired.Stream(),
		"$JS.API.STREAM.CREATE.mine",
		"$JS.API.CONSUMER.CREATE." + protocol.BucketDesired.Stream(),
		"$JS.API.CONSUMER.CREATE." + protocol.BucketDesired.Stream() + ".mine",
		"$JS.API.CONSUMER.NAMES." + protocol.BucketDesired.Stream(),
		"$JS.API.CONSUMER.DELETE." + protocol.BucketDesired.Stream() + ".theirs",
		"$JS.ACK." + protocol.BucketDesired.Stream() + ".theirs.1.1.1.1.0",
		"$SYS.REQ.USER.AUTH", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.DEVICES.CONNZ",
	} {
		t.Run(subject, func(t *testing.T) {
			if err := a.PublishRequest(subject, protocol.InboxPrefix(deviceA)+".y", []byte("{}")); err != nil {
				t.Fatal(err)
			}
			a.violation(t, "Publish to", subject)
		})
	}
	if after := s.kept(t); !maps.Equal(before, after) {
		t.Errorf("what is kept changed from\n%v to\n%v", before, after)
	}
}

// A leaf node would bring a whole broker in on a device's token.
func TestTokenAdmitsNoLeafNode(t *testing.T) {
	f := newFleet(t, withLeaves)
	f.ready(t, "")
	conn, err := net.Dial("tcp", f.leaves)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	if info, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(info, "INFO ") {
		t.Fatalf("got %q, %v", info, err)
	}
	fmt.Fprintf(conn, "CONNECT {\"auth_token\":%q,\"name\":\"leaf\",\"headers\":true}\r\nPING\r\n", f.issuer.Token(t, string(deviceA), "device", nil))
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			t.Fatalf("the server did not say that it refused: %v", err)
		}
		if strings.HasPrefix(line, "-ERR") {
			if !strings.Contains(line, "Authorization Violation") {
				t.Errorf("got %q", line)
			}
			return
		}
		if strings.HasPrefix(line, "PONG") || strings.HasPrefix(line, "LS+") {
			t.Fatalf("the leaf node was admitted: %q", line)
		}
	}
}

// What package service relies on: no client can make an authorization request,
// in account AUTH because the broker refuses, elsewhere because it is not heard.
func TestOnlyServersRequestAuthorization(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	startCallout(t, f.config(t, ""), log).waitReady(t)
	const subject = "$SYS.REQ.USER.AUTH"
	caller := &client{errors: make(chan error, 64)}
	caller.Conn = f.connectNKey(t, f.caller, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { caller.errors <- err }))
	if err := caller.PublishRequest(subject, "_INBOX.x", []byte("x")); err != nil {
		t.Fatal(err)
	}
	caller.violation(t, "Publish to", subject)
	for _, k := range []key{f.operator, f.admin} {
		nc := f.connectNKey(t, k)
		if err := nc.PublishRequest(subject, "_INBOX.x", []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	f.device(t, deviceA)
	eventually(t, "the device is written down", func() bool { return len(log.decisions(t)) > 0 })
	if all := log.decisions(t); len(all) != 1 || all[0].Result != "admitted" {
		t.Errorf("decisions: %+v", all)
	}
}
