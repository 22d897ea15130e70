package wire_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	device protocol.DeviceID = "device-1"
	other  protocol.DeviceID = "device-2"
)

// broker is a broker with one account, in which the device may do what protocol
// says, and the admin everything.
func broker(t *testing.T) (url string, admin *wire.Client, mine *wire.Client) {
	t.Helper()
	may := protocol.DevicePermissions(device)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{
			{Username: "admin", Password: "a"},
			{Username: "device", Password: "d", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: may.Publish},
				Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the broker is not ready")
	}
	as := func(user, password string, who wire.Bearer) *wire.Client {
		url := fmt.Sprintf("nats://%s:%s@%s", user, password, strings.TrimPrefix(s.ClientURL(), "nats://"))
		c, err := wire.Dial(t.Context(), url, who)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return s.ClientURL(), as("admin", "a", wire.Admin("admin", "")), as("device", "d", wire.Device(device, ""))
}

func bucket(t *testing.T, admin *wire.Client) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(admin.Conn())
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: string(protocol.BucketDesired)})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func TestDialSaysWhetherItWasRefused(t *testing.T) {
	url, _, _ := broker(t)
	_, err := wire.Dial(t.Context(), url, wire.Device(device, "no token"))
	if !errors.Is(err, wire.ErrRefused) {
		t.Errorf("got %v, want %v", err, wire.ErrRefused)
	}
	_, err = wire.Dial(t.Context(), "nats://127.0.0.1:1", wire.Device(device, "t"))
	if err == nil || errors.Is(err, wire.ErrRefused) {
		t.Errorf("nobody listens, but got %v", err)
	}
}

func TestRefusedTellsOperationAndSubject(t *testing.T) {
	_, _, mine := broker(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	theirs := protocol.HeartbeatSubject(other)
	if _, err := mine.Conn().SubscribeSync(theirs); err != nil {
		t.Fatal(err)
	}
	if err := mine.Refused(ctx, wire.Subscribe, theirs); err != nil {
		t.Error(err)
	}
	if err := mine.Conn().Publish(theirs, nil); err != nil {
		t.Fatal(err)
	}
	if err := mine.Refused(ctx, wire.Publish, theirs); err != nil {
		t.Error(err)
	}
	if left := mine.Refusals(); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	// What is allowed is not refused, and a refusal counts once.
	if err := mine.Conn().Publish(protocol.HeartbeatSubject(device), nil); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, subject := range []string{theirs, protocol.HeartbeatSubject(device)} {
		if err := mine.Refused(short, wire.Publish, subject); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", subject, err)
		}
	}
}

func TestReadFindsDocumentsAndTheirAbsence(t *testing.T) {
	_, admin, mine := broker(t)
	kv := bucket(t, admin)
	if _, _, err := mine.Desired(t.Context(), device); !errors.Is(err, wire.ErrNoDocument) {
		t.Errorf("a key that never was: %v", err)
	}
	want, err := (&protocol.DesiredState{Version: protocol.Version, Device: device}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	revision, err := kv.Put(t.Context(), string(device), want)
	if err != nil {
		t.Fatal(err)
	}
	got, at, err := mine.Desired(t.Context(), device)
	if err != nil || got.Device != device || at != revision {
		t.Errorf("got %+v at %d, %v; want revision %d", got, at, err, revision)
	}
	if _, err := kv.Put(t.Context(), string(device), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mine.Desired(t.Context(), device); !errors.Is(err, protocol.ErrInvalidDocument) {
		t.Errorf("a document that is none: %v", err)
	}
	if err := kv.Delete(t.Context(), string(device)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := mine.Desired(t.Context(), device); !errors.Is(err, wire.ErrNoDocument) {
		t.Errorf("a deleted key: %v", err)
	}
}

func TestCommandTakesNoAnswerOfAnother(t *testing.T) {
	_, admin, mine := broker(t)
	answer := protocol.CommandReply{Version: protocol.Version, Device: device, Verb: protocol.VerbPing}
	_, err := mine.Conn().Subscribe(protocol.CommandSubject(device, protocol.VerbPing), func(m *nats.Msg) {
		data, err := json.Marshal(answer)
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Command(t.Context(), device, protocol.VerbPing); err != nil {
		t.Error(err)
	}
	answer.Device = other
	if _, err := admin.Command(t.Context(), device, protocol.VerbPing); err == nil {
		t.Error("the answer of another device was taken")
	}
	answer.Device, answer.Error = device, "podman is away"
	if _, err := admin.Command(t.Context(), device, protocol.VerbPing); err == nil || !strings.Contains(err.Error(), answer.Error) {
		t.Errorf("got %v, want what the device says", err)
	}
	if _, err := admin.Command(t.Context(), other, protocol.VerbPing); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody is there, but got %v", err)
	}
}

func TestHeartbeatsAreTold(t *testing.T) {
	_, admin, mine := broker(t)
	beats, err := admin.Heartbeats(t.Context(), protocol.AllHeartbeats)
	if err != nil {
		t.Fatal(err)
	}
	send := func(beat protocol.Heartbeat) {
		data, err := json.Marshal(beat)
		if err == nil {
			err = mine.Conn().Publish(protocol.HeartbeatSubject(device), data)
		}
		if err == nil {
			err = mine.Settle(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	beat := protocol.Heartbeat{Version: protocol.Version, Device: device, Time: time.Now(), Sequence: 1}
	send(beat)
	if got, err := beats.Next(t.Context()); err != nil || got.Sequence != 1 || got.Device != device {
		t.Errorf("got %+v, %v", got, err)
	}
	beat.Device = other
	send(beat)
	if _, err := beats.Next(t.Context()); err == nil {
		t.Error("a heartbeat in another's name was taken")
	}
	send(protocol.Heartbeat{Device: device})
	beat.Device, beat.Sequence = device, 2
	send(beat)
	got, strays, err := beats.Drain(t.Context())
	if err != nil || strays != 1 || len(got) != 1 || got[0].Sequence != 2 {
		t.Errorf("got %+v and %d strays, %v", got, strays, err)
	}
	if err := beats.Close(); err != nil {
		t.Error(err)
	}
}

func TestAdmissionsAreReadFromALog(t *testing.T) {
	log := `{"time":"2026-01-02T03:04:05Z","level":"INFO","msg":"The callout has started."}
not a line of the log
{"time":"2026-01-02T03:04:06Z","level":"INFO","msg":"admission","result":"admitted","role":"device","name":"device-1","tokenID":"V2_1","clientID":7,"latency":1}
{"time":"2026-01-02T03:04:07Z","level":"WARN","msg":"admission","result":"refused","name":"","clientID":8}
`
	got, err := wire.Admissions(strings.NewReader(log))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if a := got[0]; a.Result != wire.Admitted || a.Name != "device-1" || a.TokenID != "V2_1" || a.ClientID != 7 || a.Time.IsZero() {
		t.Errorf("got %+v", a)
	}
	if a := got[1]; a.Result == wire.Admitted || a.ClientID != 8 {
		t.Errorf("got %+v", a)
	}
}
