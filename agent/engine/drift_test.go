package engine_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/agent/internal/spectest"
	"github.com/seatrial/seatrial/protocol"
)

const device = "device-1"

func TestDriftIsWhatChanged(t *testing.T) {
	podman := podmantest.Start(t)
	spectest.Load(t, podman)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	rapid.Check(t, func(t *rapid.T) {
		want := &drift.Desired{
			Device:    device,
			Network:   rapid.SampledFrom([]drift.Network{drift.Bridge, drift.Host}).Draw(t, "network"),
			Container: spectest.Containers().Draw(t, "container"),
		}
		live := create(t, e, want)
		image := resolve(t, e, want.Container.Image)
		if found := drift.Compare(want, image, live); len(found) != 0 {
			t.Fatalf("a container as it was asked for differs: %v\nwanted %+v\nlive %+v", found, want, live)
		}
		mutation := rapid.SampledFrom(spectest.Mutations()).Draw(t, "mutation")
		changed := &drift.Desired{Device: want.Device, Network: want.Network, Container: want.Container}
		field := mutation.Change(&changed.Container)
		if field == "" || want.Network == drift.Host && strings.HasPrefix(field, "ports.") {
			return
		}
		found := drift.Compare(changed, image, live)
		if fields := fieldsOf(found); !slices.Equal(fields, []string{field}) {
			t.Fatalf("after %s differ %v, want %s alone\n%v\nwanted %+v\nlive %+v", mutation.Name, fields, field, found, changed, live)
		}
	})
}

func fieldsOf(found []protocol.Difference) []string {
	fields := make(map[string]bool, len(found))
	for _, d := range found {
		fields[d.Field] = true
	}
	return slices.Sorted(maps.Keys(fields))
}

// create makes a container, looks at it, and removes it.
func create(t *rapid.T, e *engine.Engine, want *drift.Desired) *drift.Live {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := e.Create(ctx, want.Container.Name, want, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := e.Remove(ctx, id); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Inspect(ctx, id); !errors.Is(err, engine.ErrNoContainer) {
			t.Fatalf("after its removal: %v, want %v", err, engine.ErrNoContainer)
		}
	}()
	c, err := e.Inspect(ctx, want.Container.Name)
	if err != nil {
		t.Fatal(err)
	}
	return &c.Live
}

func resolve(t *rapid.T, e *engine.Engine, reference string) *drift.Image {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	image, err := e.Image(ctx, reference)
	if err != nil {
		t.Fatal(err)
	}
	return image
}
