package callout_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

func encode(t *testing.T, document interface{ Encode() ([]byte, error) }) []byte {
	t.Helper()
	data, err := document.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What the contract promises a device and those who watch it, over a real broker.
func TestDeviceFollowsItsDesiredState(t *testing.T) {
	s := newStage(t)
	b := s.device(t, deviceB)
	doorbell := listen(t, b.Conn, protocol.DoorbellSubject(deviceB))

	desired := encode(t, &protocol.DesiredState{Version: protocol.Version, Device: deviceB})
	ack, err := s.js.Publish(t.Context(), protocol.BucketDesired.Subject(deviceB), desired)
	if err != nil {
		t.Fatal(err)
	}
	ring := next(t, doorbell)
	if !protocol.IsOwnDoorbell(deviceB, ring.Header.Get(protocol.HeaderSubject)) || len(ring.Data) > 0 {
		t.Errorf("the doorbell rang with %v and %d bytes, want its own key and none", ring.Header, len(ring.Data))
	}
	answer := b.ask(t, protocol.BucketDesired.DirectGet(deviceB), nil)
	if got := answer.Header.Get(protocol.HeaderSubject); got != protocol.BucketDesired.Subject(deviceB) {
		t.Errorf("the answer names key %q", got)
	}
	if string(answer.Data) != string(desired) {
		t.Errorf("read %s, want %s", answer.Data, desired)
	}
	if sequence := answer.Header.Get("Nats-Sequence"); sequence == "" || ack.Sequence == 0 {
		t.Errorf("the answer has revision %q, the write %d", sequence, ack.Sequence)
	}
	b.quiet(t)
}

func TestOthersDoorbellsAreNotHeard(t *testing.T) {
	s := newStage(t)
	a, b := s.device(t, deviceA), s.device(t, deviceB)
	bellA, bellB := listen(t, a.Conn, protocol.DoorbellSubject(deviceA)), listen(t, b.Conn, protocol.DoorbellSubject(deviceB))
	for _, id := range []protocol.DeviceID{deviceB, deviceA} {
		if _, err := s.js.Publish(t.Context(), protocol.BucketDesired.Subject(id), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for id, bell := range map[protocol.DeviceID]*nats.Subscription{deviceA: bellA, deviceB: bellB} {
		if ring := next(t, bell); !protocol.IsOwnDoorbell(id, ring.Header.Get(protocol.HeaderSubject)) {
			t.Errorf("%s heard %v", id, ring.Header)
		}
	}
}

func TestDeviceReportsAndOthersRead(t *testing.T) {
	s := newStage(t)
	b, admin := s.device(t, deviceB), s.fleetAdmin(t, "admin")
	inState, inDevices := listen(t, s.operator, protocol.AllHeartbeats), listen(t, admin.Conn, protocol.HeartbeatSubject(deviceB))

	documents := map[protocol.Bucket][]byte{
		protocol.BucketInfo:   encode(t, &protocol.DeviceInfo{Version: protocol.Version, Device: deviceB}),
		protocol.BucketStatus: encode(t, &protocol.DeviceStatus{Version: protocol.Version, Device: deviceB}),
	}
	for bucket, document := range documents {
		var ack struct {
			Stream string
			Seq    uint64
		}
		if err := json.Unmarshal(b.ask(t, bucket.Subject(deviceB), document).Data, &ack); err != nil || ack.Stream != bucket.Stream() || ack.Seq == 0 {
			t.Fatalf("write %s: %+v, %v", bucket, ack, err)
		}
		if got := admin.ask(t, bucket.DirectGet(deviceB), nil); string(got.Data) != string(document) {
			t.Errorf("the admin read %s of %s", got.Data, bucket)
		}
		if got, err := s.js.KeyValue(t.Context(), string(bucket)); err != nil {
			t.Error(err)
		} else if entry, err := got.Get(t.Context(), string(deviceB)); err != nil || string(entry.Value()) != string(document) {
			t.Errorf("the operator read %v, %v", entry, err)
		}
	}
	if got := admin.ask(t, protocol.BucketDesired.DirectGet(deviceB), nil); string(got.Data) != "desired-state of device-b" {
		t.Errorf("the admin read %s", got.Data)
	}

	beat := encode(t, &protocol.Heartbeat{Version: protocol.Version, Device: deviceB, Time: time.Now(), Sequence: 1})
	if err := b.Publish(protocol.HeartbeatSubject(deviceB), beat); err != nil {
		t.Fatal(err)
	}
	for account, sub := range map[string]*nats.Subscription{protocol.AccountState: inState, protocol.AccountDevices: inDevices} {
		msg := next(t, sub)
		if id, ok := protocol.DeviceOf(msg.Subject); !ok || id != deviceB || string(msg.Data) != string(beat) {
			t.Errorf("account %s got %s on %s", account, msg.Data, msg.Subject)
		}
	}
	b.quiet(t)
	admin.quiet(t)
}

func TestAdminCommandsAndDeviceAnswers(t *testing.T) {
	s := newStage(t)
	b, admin := s.device(t, deviceB), s.fleetAdmin(t, "admin")
	commands := listen(t, b.Conn, protocol.CommandSubject(deviceB, "*"))
	inbox := admin.NewRespInbox()
	answers := listen(t, admin.Conn, inbox)
	request := encode(t, &protocol.CommandRequest{Version: protocol.Version})
	if err := admin.PublishRequest(protocol.CommandSubject(deviceB, protocol.VerbPing), inbox, request); err != nil {
		t.Fatal(err)
	}
	command := next(t, commands)
	if !protocol.IsAdminInbox(command.Reply) {
		t.Errorf("the command asks for an answer at %s", command.Reply)
	}
	reply := encode(t, &protocol.CommandReply{Version: protocol.Version, Device: deviceB, Verb: protocol.VerbPing, TokenID: "t"})
	if err := command.Respond(reply); err != nil {
		t.Fatal(err)
	}
	if got, err := protocol.DecodeCommandReply(next(t, answers).Data); err != nil || got.Device != deviceB {
		t.Errorf("the admin got %+v, %v", got, err)
	}
	b.quiet(t)
	admin.quiet(t)
}

func TestAdminWritesNothing(t *testing.T) {
	s := newStage(t)
	admin := s.fleetAdmin(t, "admin")
	before := s.kept(t)
	var subjects []string
	for _, bucket := range protocol.Buckets() {
		subjects = append(subjects, bucket.Subject(deviceA), "$JS.API.STREAM.PURGE."+bucket.Stream(), "$JS.API.STREAM.DELETE."+bucket.Stream(),
			"$JS.API.STREAM.INFO."+bucket.Stream(), "$JS.API.CONSUMER.CREATE."+bucket.Stream(), "$JS.API.DIRECT.GET."+bucket.Stream())
	}
	subjects = append(subjects, protocol.DoorbellSubject(deviceA), protocol.HeartbeatSubject(deviceA), protocol.InboxPrefix(deviceA)+".x",
		protocol.AdminInboxPrefix("other")+".x", "$JS.API.STREAM.CREATE.mine", "$SYS.REQ.SERVER.PING", "$SYS.REQ.USER.AUTH", "device.device-a.command")
	for _, subject := range subjects {
		if err := admin.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		admin.violation(t, "Publish to", subject)
	}
	for _, subject := range []string{
		">", protocol.AdminInboxPrefix("other") + ".>", "_INBOX_ADMIN.>", protocol.InboxPrefix(deviceA) + ".>", "$KV.>", "$JS.>", "$SYS.>",
	} {
		if _, err := admin.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		admin.violation(t, "Subscription to", subject)
	}
	after := s.kept(t)
	for key := range before {
		if before[key] != after[key] {
			t.Errorf("%s changed from %q to %q", key, before[key], after[key])
		}
	}
}

// An admin could name any reply subject in a command. A device cannot answer
// anywhere but to an admin, except onto its own keys, which it must refuse.
func TestDeviceAnswersLandOnNoOthersKey(t *testing.T) {
	s := newStage(t)
	b, admin := s.device(t, deviceB), s.fleetAdmin(t, "admin")
	commands := listen(t, b.Conn, protocol.CommandSubject(deviceB, "*"))
	for _, reply := range []string{
		protocol.BucketStatus.Subject(deviceA), protocol.BucketInfo.Subject(deviceA), protocol.BucketDesired.Subject(deviceA),
		protocol.BucketDesired.Subject(deviceB), protocol.HeartbeatSubject(deviceA), protocol.CommandSubject(deviceA, protocol.VerbPing),
	} {
		if err := admin.PublishRequest(protocol.CommandSubject(deviceB, protocol.VerbPing), reply, nil); err != nil {
			t.Fatal(err)
		}
		command := next(t, commands)
		if protocol.IsAdminInbox(command.Reply) {
			t.Errorf("%s passes for an admin's inbox", command.Reply)
		}
		if err := command.Respond([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		b.violation(t, "Publish to", reply)
	}
	for _, own := range []string{protocol.BucketStatus.Subject(deviceB), protocol.BucketInfo.Subject(deviceB), protocol.HeartbeatSubject(deviceB)} {
		if protocol.IsAdminInbox(own) {
			t.Errorf("%s passes for an admin's inbox", own)
		}
	}
}

// The operator, and nobody else, holds streams: no message of account DEVICES
// reaches account STATE but by a share.
func TestNothingElseCrossesIntoState(t *testing.T) {
	s := newStage(t)
	a, admin := s.device(t, deviceA), s.fleetAdmin(t, "admin")
	all := listen(t, s.operator, ">")
	listen(t, a.Conn, protocol.CommandSubject(deviceA, "*"))
	if err := admin.Publish(protocol.CommandSubject(deviceA, protocol.VerbPing), nil); err != nil {
		t.Fatal(err)
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish("_INBOX_ADMIN.admin.x", nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Publish(protocol.HeartbeatSubject(deviceA), nil); err != nil {
		t.Fatal(err)
	}
	msg := next(t, all)
	// The callout, from account AUTH, writes the audit stream and reads the deny list.
	for msg.Subject == protocol.AuditSubject || msg.Subject == protocol.BucketDenied.DirectNext() {
		msg = next(t, all)
	}
	if msg.Subject != protocol.HeartbeatSubject(deviceA) {
		t.Errorf("%s crossed", msg.Subject)
	}
}

// The largest document that may be encoded fits into a bucket, and no larger one.
func TestLargestDocument(t *testing.T) {
	s := newStage(t)
	b := s.device(t, deviceB)
	for bytes, fits := range map[int]bool{protocol.MaxDocumentSize: true, protocol.MaxDocumentSize + 1: false} {
		answer := b.ask(t, protocol.BucketStatus.Subject(deviceB), make([]byte, bytes))
		if took := !strings.Contains(string(answer.Data), `"error"`); took != fits {
			t.Errorf("%d bytes: %s", bytes, answer.Data)
		}
	}
}
