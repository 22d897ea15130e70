package settings

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/internal/durable/durabletest"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	deadline = time.Minute
	fallback = 10 * time.Millisecond
)

var quiet = slog.New(slog.DiscardHandler)

// bucket answers as the broker does.
type bucket struct {
	answer atomic.Pointer[nats.Msg]
	err    error
	asked  chan string
}

func (b *bucket) Request(_ context.Context, subject string, _ []byte) (*nats.Msg, error) {
	b.asked <- subject
	return b.answer.Load(), b.err
}

func newBucket(answer *nats.Msg) *bucket {
	b := &bucket{asked: make(chan string, 100)}
	b.answer.Store(answer)
	return b
}

func stored(t *testing.T, spread time.Duration) *nats.Msg {
	t.Helper()
	data, err := (&protocol.FleetSettings{
		Version: protocol.Version, SpreadMillis: spread.Milliseconds(), Devices: 5000, AdmissionsPerSecond: 400,
	}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Data: data, Header: nats.Header{protocol.HeaderSubject: {protocol.BucketSettings.Subject(protocol.SettingsKey)}}}
}

func TestWhatIsPublishedCountsAndIsKept(t *testing.T) {
	folder := t.TempDir()
	b := newBucket(&nats.Msg{Header: nats.Header{headerStatus: {statusNotFound}}})
	k := NewKeeper(folder, fallback, b, quiet)
	if err := k.Read(t.Context()); err != nil || k.Spread() != fallback {
		t.Fatalf("nothing is published: %v, spread %s, want %s", err, k.Spread(), fallback)
	}
	b.answer.Store(stored(t, 7*time.Second))
	if err := k.Read(t.Context()); err != nil || k.Spread() != 7*time.Second {
		t.Fatalf("published: %v, spread %s", err, k.Spread())
	}
	if got := <-b.asked; got != "$JS.API.DIRECT.GET.KV_fleet-settings.$KV.fleet-settings.fleet" {
		t.Errorf("it asked %s", got)
	}
	// The next start knows it before the broker is there.
	if again := NewKeeper(folder, fallback, b, quiet); again.Spread() != 7*time.Second {
		t.Errorf("after a restart the spread is %s", again.Spread())
	}
	if info, err := os.Stat(filepath.Join(folder, "settings.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestPowerCutTakesNoSettingsBack(t *testing.T) {
	disk := durabletest.New(t)
	for _, want := range []time.Duration{7 * time.Second, 9 * time.Second} {
		if err := NewKeeper(disk.Path, fallback, newBucket(stored(t, want)), quiet).Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if got := NewKeeper(disk.Path, fallback, newBucket(nil), quiet).Spread(); got != want {
			t.Errorf("after a power cut the spread is %s, %s was read", got, want)
		}
	}
}

func TestWhatIsNoSettingsChangesNothing(t *testing.T) {
	foreign := stored(t, 9*time.Second)
	foreign.Header.Set(protocol.HeaderSubject, protocol.BucketDesired.Subject("device-1"))
	damaged := stored(t, 9*time.Second)
	damaged.Data = []byte(`{"version":1,"spreadMillis":1}`)
	for name, row := range map[string]struct {
		answer *nats.Msg
		want   error
	}{
		"of another key": {foreign, ErrAnswer},
		"no answer":      {&nats.Msg{Header: nats.Header{headerStatus: {"503"}}}, ErrAnswer},
		"out of bounds":  {damaged, protocol.ErrInvalidDocument},
	} {
		k := NewKeeper(t.TempDir(), fallback, newBucket(row.answer), quiet)
		if err := k.Read(t.Context()); !errors.Is(err, row.want) || k.Spread() != fallback {
			t.Errorf("%s: %v, spread %s", name, err, k.Spread())
		}
	}
}

func TestDamagedFileIsNoSettings(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "settings.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if k := NewKeeper(folder, fallback, newBucket(nil), quiet); k.Spread() != fallback {
		t.Errorf("spread %s", k.Spread())
	}
}

func TestReadsWhenRungFor(t *testing.T) {
	b := newBucket(stored(t, protocol.MinSpread))
	k := NewKeeper(t.TempDir(), fallback, b, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	for range 2 {
		k.Ring()
		select {
		case <-b.asked:
		case <-time.After(deadline):
			t.Fatal("it was not read")
		}
	}
	cancel()
	<-done
	if k.Spread() != protocol.MinSpread {
		t.Errorf("spread %s", k.Spread())
	}
}
