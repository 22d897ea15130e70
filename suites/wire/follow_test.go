package wire_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// patience bounds every wait; none expects to reach it.
const patience = time.Minute

// told is what a watcher is told, one line each.
type told chan string

func (c told) Stored(b protocol.Bucket, v wire.Stored) {
	text := string(v.Data)
	if v.Deleted {
		text = "deleted"
	}
	c <- fmt.Sprintf("%s %s %d: %s", b, v.Device, v.Revision, text)
}
func (c told) Skipped(_ protocol.Bucket, first, last uint64) {
	c <- fmt.Sprintf("skipped %d to %d", first, last)
}
func (c told) Forgot(_ protocol.Bucket, seen, last uint64) {
	c <- fmt.Sprintf("forgot: %d seen, ends at %d", seen, last)
}

func (c told) expect(t *testing.T, lines ...string) {
	t.Helper()
	for _, want := range lines {
		select {
		case got := <-c:
			if got != want {
				t.Fatalf("told %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("was not told %q", want)
		}
	}
}

// mortal is a broker that can be ended and started again where it was.
type mortal struct {
	store string
	port  int
	runs  *server.Server
}

// newMortal is a broker whose port nobody else gets between its lives.
func newMortal(t *testing.T) *mortal {
	t.Helper()
	return &mortal{store: filepath.Join(t.TempDir(), "store"), port: port.ForTest(t).Number()}
}

func (m *mortal) start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: m.port, JetStream: true, StoreDir: m.store, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the broker is not ready")
	}
	m.runs = s
}

func (m *mortal) end() {
	m.runs.Shutdown()
	m.runs.WaitForShutdown()
}

// desired is the bucket of desired states, as the contract has it.
func desired(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	s := protocol.BucketDesired.Settings()
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, AllowDirect: s.AllowDirect, Storage: jetstream.FileStorage,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A broker that lost its last values, and gave their numbers to others before anybody
// looked, ends where it did or later.
func TestFollowNoticesNumbersThatAreGivenAgain(t *testing.T) {
	m := newMortal(t)
	m.start(t)
	t.Cleanup(func() { m.end() })
	put := func(id protocol.DeviceID, value string) {
		t.Helper()
		nc, err := nats.Connect(m.runs.ClientURL(), nats.Timeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), protocol.BucketDesired.Subject(id), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	watching, err := nats.Connect(m.runs.ClientURL(), nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watching.Close)
	js, err := jetstream.New(watching)
	if err != nil {
		t.Fatal(err)
	}
	desired(t, js)
	put(device, "a")

	// The broker's disk as it is now, to be brought back.
	number, disk := m.port, filepath.Join(t.TempDir(), "disk")
	blocked := watching.StatusChanged(nats.RECONNECTING)
	m.end()
	<-blocked
	if err := os.CopyFS(disk, os.DirFS(m.store)); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	put(other, "b")
	seen := make(told, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- wire.Follow(ctx, watching, protocol.BucketDesired, seen) }()
	seen.expect(t, "desired-state device-1 1: a", "desired-state device-2 2: b")

	m.end()
	m.store, m.port = disk, server.RANDOM_PORT
	m.start(t) // where nobody watches
	put(other, "c")
	m.end()
	m.port = number
	m.start(t)
	seen.expect(t, "forgot: 2 seen, ends at 2", "desired-state device-1 1: a", "desired-state device-2 2: c")

	cancel()
	if err := <-done; err != nil {
		t.Errorf("it followed until the end, and yet: %v", err)
	}
}

// Who could not follow must not be taken for one to whom nothing has happened.
func TestFollowSaysThatItDidNot(t *testing.T) {
	m := newMortal(t)
	m.start(t)
	t.Cleanup(func() { m.end() })
	watching, err := nats.Connect(m.runs.ClientURL(), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watching.Close)
	attempts := make(chan *nats.Msg, 100)
	if _, err := watching.ChanSubscribe("$JS.API.STREAM.INFO.>", attempts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	// There is no bucket.
	go func() { done <- wire.Follow(ctx, watching, protocol.BucketDesired, make(told, 100)) }()
	for range 2 {
		select {
		case <-attempts:
		case <-time.After(patience):
			t.Fatal("it does not try")
		}
	}
	cancel()
	if err := <-done; !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestFollowGoesOnWhereItWas(t *testing.T) {
	m := newMortal(t)
	m.start(t)
	t.Cleanup(func() { m.end() })
	connect := func(options ...nats.Option) *nats.Conn {
		nc, err := nats.Connect(m.runs.ClientURL(), append(options, nats.Timeout(patience), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	writer := connect()
	js, err := jetstream.New(writer)
	if err != nil {
		t.Fatal(err)
	}
	put := func(id protocol.DeviceID, value string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		// One that was just renewed may lose what is sent at once.
		if err := writer.FlushWithContext(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, protocol.BucketDesired.Subject(id), []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	desired(t, js)
	put(device, "a")
	put(device, "b")
	put("NOBODY", "x")
	put(other, "c")

	seen := make(told, 100)
	watching := connect()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- wire.Follow(ctx, watching, protocol.BucketDesired, seen) }()
	seen.expect(t, "skipped 1 to 1", "desired-state device-1 2: b", "desired-state device-2 4: c")
	// A client may say of a value that it is one.
	said := nats.NewMsg(protocol.BucketDesired.Subject(device))
	said.Data = []byte("d")
	said.Header.Set("KV-Operation", "PUT")
	if _, err := js.PublishMsg(t.Context(), said); err != nil {
		t.Fatal(err)
	}
	seen.expect(t, "desired-state device-1 5: d")

	// While it cannot watch, the broker dies, and what is written afterwards is
	// written over.
	blocked := watching.StatusChanged(nats.RECONNECTING)
	m.end()
	<-blocked
	m.start(t)
	put(device, "e")
	seen.expect(t, "desired-state device-1 6: e")
	msg := nats.NewMsg(protocol.BucketDesired.Subject(device))
	msg.Header.Set("KV-Operation", "DEL")
	if _, err := js.PublishMsg(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	seen.expect(t, "desired-state device-1 7: deleted")

	got, err := wire.Present(t.Context(), watching, protocol.BucketDesired, device)
	if err != nil || !got.Deleted || got.Revision != 7 {
		t.Errorf("present: %+v, %v", got, err)
	}
	got, err = wire.Present(t.Context(), watching, protocol.BucketDesired, other)
	if err != nil || string(got.Data) != "c" || got.Revision != 4 || got.Time.IsZero() {
		t.Errorf("present: %+v, %v", got, err)
	}
	if _, err = wire.Present(t.Context(), watching, protocol.BucketDesired, "device-9"); !errors.Is(err, wire.ErrNoDocument) {
		t.Errorf("of a key that never was: %v", err)
	}

	// A broker that lost its disk is found out.
	m.end()
	if err := os.RemoveAll(m.store); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	desired(t, js)
	put(other, "anew")
	var forgot bool
	for !forgot {
		select {
		case line := <-seen:
			forgot = line == "forgot: 7 seen, ends at 0" || line == "forgot: 7 seen, ends at 1"
		case <-time.After(patience):
			t.Fatal("was not told that the bucket is another one")
		}
	}
	seen.expect(t, "desired-state device-2 1: anew")

	cancel()
	if err := <-done; err != nil {
		t.Errorf("it followed until the end, and yet: %v", err)
	}
}
