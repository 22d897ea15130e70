package callout_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// A broker answers to whatever reply subject a request names and asks nobody
// whether the requester may publish there. These tests have it put every answer
// that a device can get everywhere that could hurt.

// answer is a request that the broker answers.
type answer struct {
	name, subject string
	data          string
}

// answers are those that a device can get: acknowledgements of its own writes,
// its own desired state, and errors without content.
func answers(id protocol.DeviceID) []answer {
	return []answer{
		{"acknowledgement of its info", protocol.BucketInfo.Subject(id), "info"},
		{"acknowledgement of its status", protocol.BucketStatus.Subject(id), "status"},
		{"its desired state", protocol.BucketDesired.DirectGet(id), ""},
		{"an empty error", protocol.BucketDesired.DirectGet(id), "garbage"},
	}
}

// adminAnswers are those that an admin can get; their content is what a device
// wrote.
func adminAnswers(id protocol.DeviceID) []answer {
	return []answer{
		{"a device's info", protocol.BucketInfo.DirectGet(id), ""},
		{"a device's status", protocol.BucketStatus.DirectGet(id), ""},
		{"a device's desired state", protocol.BucketDesired.DirectGet(id), ""},
	}
}

// reflect has the broker put the answer onto target. When it returns, that has
// happened: answers to one connection's requests keep their order.
func (c *client) reflect(t *testing.T, a answer, target string) {
	t.Helper()
	if err := c.PublishRequest(a.subject, target, []byte(a.data)); err != nil {
		t.Fatal(err)
	}
	c.ask(t, a.subject, []byte(a.data))
}

func harmful(ids ...protocol.DeviceID) (targets []string) {
	for _, id := range ids {
		for _, bucket := range protocol.Buckets() {
			targets = append(targets, bucket.Subject(id))
		}
	}
	for _, bucket := range protocol.Buckets() {
		targets = append(targets,
			"$JS.API.STREAM.PURGE."+bucket.Stream(),
			"$JS.API.STREAM.DELETE."+bucket.Stream(),
			"$JS.API.CONSUMER.CREATE."+bucket.Stream(),
		)
	}
	return append(targets, "$JS.API.STREAM.CREATE.mine", "$KV.mine.x", "$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING")
}

func TestReflectedAnswersChangeNothingThatIsKept(t *testing.T) {
	s := newStage(t)
	device, admin := s.device(t, deviceA), s.fleetAdmin(t, "admin")
	streams := s.streams(t)
	check := func(c *client, writer protocol.DeviceID, a answer, target string) {
		t.Run(a.name+" onto "+target, func(t *testing.T) {
			before := unwritten(s.kept(t), writer)
			c.reflect(t, a, target)
			if after := unwritten(s.kept(t), writer); !maps.Equal(before, after) {
				t.Errorf("what is kept changed from\n%v to\n%v", before, after)
			}
			if after := s.streams(t); !slices.Equal(streams, after) {
				t.Errorf("the streams changed from %v to %v", streams, after)
			}
			c.quiet(t)
		})
	}
	for _, a := range answers(deviceA) {
		for _, target := range harmful(deviceB) {
			check(device, deviceA, a, target)
		}
		check(device, deviceA, a, protocol.BucketDesired.Subject(deviceA))
	}
	for _, a := range adminAnswers(deviceA) {
		for _, target := range harmful(deviceA, deviceB) {
			check(admin, "", a, target)
		}
	}
}

// The control: with JetStream in the devices' own account, the same attack
// works, so that the test above would see it.
func TestReflectionWorksWithinOneAccount(t *testing.T) {
	s := newStage(t)
	operator := &client{Conn: s.operator}
	before := s.kept(t)
	target := protocol.BucketStatus.Subject(deviceB)
	operator.reflect(t, answer{subject: protocol.BucketInfo.Subject(deviceA)}, target)
	eventually(t, "the answer is kept under another key", func() bool { return s.kept(t)[target] != before[target] })
}

func TestReservedReplySubjectsAreRefused(t *testing.T) {
	s := newStage(t)
	a := s.device(t, deviceA)
	for _, reply := range []string{
		"$JS.ACK." + protocol.BucketStatus.Stream() + ".theirs.1.1.1.1.0", "_R_.x", "_GR_.x",
	} {
		if err := a.PublishRequest(protocol.BucketDesired.DirectGet(deviceA), reply, nil); err != nil {
			t.Fatal(err)
		}
		a.violation(t, "Publish with Reply of", reply)
	}
}

// An answer can reach another device's subjects. What arrives there must be
// recognisable, by what the sender cannot choose.
func TestReflectedAnswersAreRecognised(t *testing.T) {
	s := newStage(t)
	a, b := s.device(t, deviceA), s.device(t, deviceB)
	doorbell := listen(t, b.Conn, protocol.DoorbellSubject(deviceB))
	commands := listen(t, b.Conn, protocol.CommandSubject(deviceB, "*"))
	inbox := listen(t, b.Conn, protocol.InboxPrefix(deviceB)+".>")
	heartbeats := listen(t, s.operator, protocol.AllHeartbeats)
	for _, answer := range answers(deviceA) {
		t.Run(answer.name, func(t *testing.T) {
			a.reflect(t, answer, doorbell.Subject)
			if msg := next(t, doorbell); protocol.IsOwnDoorbell(deviceB, msg.Header.Get(protocol.HeaderSubject)) {
				t.Errorf("the doorbell counts: %v", msg.Header)
			}
			a.reflect(t, answer, protocol.CommandSubject(deviceB, protocol.VerbReconcile))
			if msg := next(t, commands); protocol.IsAdminInbox(msg.Reply) {
				t.Errorf("the command counts: it asks for an answer at %s", msg.Reply)
			}
			a.reflect(t, answer, protocol.InboxPrefix(deviceB)+".guessed")
			if msg := next(t, inbox); strings.HasPrefix(msg.Header.Get(protocol.HeaderSubject), protocol.BucketDesired.Subject(deviceB)) {
				t.Errorf("the answer looks like the device's own: %v", msg.Header)
			}
			a.reflect(t, answer, protocol.HeartbeatSubject(deviceB))
			if err := a.Publish(protocol.HeartbeatSubject(deviceA), nil); err != nil {
				t.Fatal(err)
			}
			if msg := next(t, heartbeats); msg.Subject != protocol.HeartbeatSubject(deviceA) {
				t.Errorf("a heartbeat of another device crossed into account %s: %s", protocol.AccountState, msg.Data)
			}
		})
	}
}

func TestHeadersReachNoOtherKey(t *testing.T) {
	s := newStage(t)
	a := s.device(t, deviceA)
	before := unwritten(s.kept(t), deviceA)
	for name, header := range map[string]nats.Header{
		"rollup of the bucket": {"Nats-Rollup": {"all"}},
		"rollup of the key":    {"Nats-Rollup": {"sub"}},
		"time to live":         {"Nats-TTL": {"1s"}},
		"deletion marker":      {"KV-Operation": {"PURGE"}, "Nats-Rollup": {"sub"}},
		"schedule":             {"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {protocol.BucketStatus.Subject(deviceB)}},
		"atomic batch":         {"Nats-Batch-Id": {"1"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
		"counter":              {"Nats-Incr": {"1"}},
		"other stream":         {"Nats-Expected-Stream": {protocol.BucketDesired.Stream()}},
	} {
		t.Run(name, func(t *testing.T) {
			msg := &nats.Msg{Subject: protocol.BucketStatus.Subject(deviceA), Header: header, Data: []byte("1")}
			answer, err := a.RequestMsg(msg, deadline)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(answer.Data), `"error"`) {
				t.Errorf("the write was taken: %s", answer.Data)
			}
			if after := unwritten(s.kept(t), deviceA); !maps.Equal(before, after) {
				t.Errorf("what is kept changed from\n%v to\n%v", before, after)
			}
		})
	}
	for _, target := range []string{protocol.BucketStatus.Subject(deviceB), protocol.DoorbellSubject(deviceB), protocol.InboxPrefix(deviceA) + ".x"} {
		t.Run("trace to "+target, func(t *testing.T) {
			msg := &nats.Msg{Subject: protocol.HeartbeatSubject(deviceA), Header: nats.Header{"Nats-Trace-Dest": {target}}}
			if err := a.PublishMsg(msg); err != nil {
				t.Fatal(err)
			}
			a.violation(t, "Publish to", target)
		})
	}
}

func TestDirectGetTakesNoOtherKeyFromItsPayload(t *testing.T) {
	s := newStage(t)
	a := s.device(t, deviceA)
	other := protocol.BucketDesired.Subject(deviceB)
	for _, payload := range []string{
		`{"last_by_subj":"` + other + `"}`,
		`{"next_by_subj":"` + other + `"}`,
		`{"seq":2}`,
		`{"batch":10,"multi_last":["$KV.desired-state.*"]}`,
		`{"LAST_BY_SUBJ":"` + other + `"}`,
	} {
		msg := a.ask(t, protocol.BucketDesired.DirectGet(deviceA), []byte(payload))
		if msg.Header.Get("Status") != "408" || len(msg.Data) > 0 {
			t.Errorf("%s was answered: %v %s", payload, msg.Header, msg.Data)
		}
	}
}
