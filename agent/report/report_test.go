package report

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/connection"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = time.Minute

var quiet = slog.New(slog.DiscardHandler)

// bucket takes writes, and answers as it is told.
type bucket struct {
	writes  chan string
	answers chan func() (*nats.Msg, error)
}

func (b *bucket) Request(_ context.Context, _ string, data []byte) (*nats.Msg, error) {
	b.writes <- string(data)
	return (<-b.answers)()
}

func stored() (*nats.Msg, error) {
	return &nats.Msg{Data: []byte(`{"stream":"KV_device-status","seq":7}`)}, nil
}

func refused() (*nats.Msg, error) {
	return &nats.Msg{Data: []byte(`{"error":{"code":503,"err_code":10074,"description":"no space"},"seq":0}`)}, nil
}

func down() (*nats.Msg, error) { return nil, connection.ErrDown }

func TestDocumentIsWrittenWhenItChanges(t *testing.T) {
	b := &bucket{writes: make(chan string, 100), answers: make(chan func() (*nats.Msg, error), 100)}
	var content atomic.Value
	content.Store("a")
	d := NewDocument("x", func(context.Context) ([]byte, error) { return []byte(content.Load().(string)), nil }, b, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	wrote := func(want string, then func() (*nats.Msg, error)) {
		t.Helper()
		select {
		case got := <-b.writes:
			if got != want {
				t.Errorf("wrote %q, want %q", got, want)
			}
			b.answers <- then
		case <-time.After(deadline):
			t.Fatalf("did not write %q", want)
		}
	}
	d.Rewrite()
	wrote("a", stored)
	// The same is not written again, what is new is.
	d.Changed()
	content.Store("b")
	d.Changed()
	wrote("b", stored)
	// After a reconnect it is written although it is the same.
	d.Rewrite()
	wrote("b", stored)
	// What was not stored is written again by itself, as it is by then.
	content.Store("c")
	d.Changed()
	wrote("c", refused)
	wrote("c", stored)
	// Without a connection nothing is tried until there is one.
	content.Store("d")
	d.Changed()
	wrote("d", down)
	content.Store("e")
	d.Rewrite()
	wrote("e", stored)
	cancel()
	<-done
	if left := len(b.writes); left != 0 {
		t.Errorf("%d more writes", left)
	}
}

func TestAcknowledged(t *testing.T) {
	for answer, good := range map[string]bool{
		`{"stream":"KV_x","seq":1}`:                          true,
		`{"stream":"KV_x"}`:                                  false,
		`{"error":{"code":400,"description":"bad"},"seq":1}`: false,
		``: false,
	} {
		if err := acknowledged([]byte(answer)); (err == nil) != good || err != nil && !errors.Is(err, ErrNotStored) {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestEncodeStatusFits(t *testing.T) {
	status := &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Revision: 1}
	for i := range protocol.MaxContainers {
		c := protocol.ContainerStatus{
			Name: fmt.Sprintf("container-%d", i), Phase: protocol.ContainerFailed, Reason: "CreateFailed",
			Message: strings.Repeat("m", 512), ContainerID: strings.Repeat("c", 64), ImageID: strings.Repeat("i", 64),
			Replaced: &protocol.Replacement{Time: time.Unix(1, 0)},
		}
		for range 16 {
			c.Replaced.Drift = append(c.Replaced.Drift, protocol.Difference{
				Field: strings.Repeat("f", 128), Desired: strings.Repeat("d", 128), Live: strings.Repeat("l", 128),
			})
		}
		status.Containers = append(status.Containers, c)
	}
	data, err := EncodeStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	got, err := protocol.DecodeDeviceStatus(data)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range got.Containers {
		if want := status.Containers[i]; c.Name != want.Name || c.Phase != want.Phase || c.Reason != want.Reason || c.ContainerID != want.ContainerID {
			t.Fatalf("container %d is %+v", i, c)
		}
	}
	if len(status.Containers[0].Replaced.Drift) != 16 || status.Containers[0].Message == "" {
		t.Error("the status itself was changed")
	}
	small := &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Containers: status.Containers[:1]}
	want, err := small.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if data, err := EncodeStatus(small); err != nil || string(data) != string(want) {
		t.Errorf("a status that fits was shortened: %v", err)
	}
	if _, err := EncodeStatus(&protocol.DeviceStatus{Version: 9}); err == nil {
		t.Error("an invalid status was rendered")
	}
}

// line keeps what is published.
type line struct{ beats chan []byte }

func (l *line) Publish(_ string, data []byte) error { l.beats <- data; return nil }

func TestHeart(t *testing.T) {
	l := &line{make(chan []byte, 100)}
	h := NewHeart("device-1", time.Hour, func() uint64 { return 5 }, l, quiet)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	for want := uint64(1); want <= 2; want++ {
		h.Beat()
		beat, err := protocol.DecodeHeartbeat(<-l.beats)
		if err != nil || beat.Sequence != want || beat.Revision != 5 || beat.Device != "device-1" {
			t.Errorf("heartbeat %+v (%v), want number %d", beat, err, want)
		}
	}
	cancel()
	<-done
}
