package reconcile

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/agent/internal/spectest"
	"github.com/seatrial/seatrial/protocol"
)

// recorder is real podman that notes why containers are made. It starts those alone
// that end once: of the others, many that are drawn end again and again.
type recorder struct {
	*engine.Engine

	mu      sync.Mutex
	never   bool
	created []*protocol.Replacement
}

func (r *recorder) Create(ctx context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (string, error) {
	r.mu.Lock()
	r.created = append(r.created, replaced)
	r.never = want.Container.RestartPolicy == protocol.RestartNever
	r.mu.Unlock()
	return r.Engine.Create(ctx, name, want, replaced)
}

func (r *recorder) Start(ctx context.Context, id string) error {
	r.mu.Lock()
	never := r.never
	r.mu.Unlock()
	if !never {
		return nil
	}
	return r.Engine.Start(ctx, id)
}

func (r *recorder) reasons() []*protocol.Replacement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.created)
}

// Whatever is desired is made once and left alone, and a change of one field replaces
// it because of that field and no other. To try more: -rapid.checks=1000.
func TestReconcilingAgainChangesNothing(t *testing.T) {
	podman := podmantest.Start(t)
	spectest.Load(t, podman)
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	rapid.Check(t, func(t *rapid.T) {
		network := rapid.SampledFrom([]drift.Network{drift.Bridge, drift.Host}).Draw(t, "network")
		want := spectest.Containers().Draw(t, "container")
		folder, err := os.MkdirTemp("", "property")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(folder)
		p := &recorder{Engine: e}
		r := New(Settings{Device: "device-1", Network: network, Compare: realDeadline, StateDir: folder, Changed: func() {}}, p, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(context.Background(), realDeadline)
		defer cancel()
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		defer func() { cancel(); <-done; empty(t, e) }()

		again := func() *engine.Container {
			if _, err := r.Reconcile(ctx); err != nil {
				t.Fatal(err)
			}
			live, err := e.Inspect(ctx, want.Name)
			if err != nil {
				t.Fatal(err)
			}
			return live
		}
		r.Accept(state(1, want))
		first := again()
		for range 2 {
			live := again()
			if live.ID != first.ID {
				t.Fatalf("it was replaced because of %+v", p.reasons())
			}
			image, err := e.Image(ctx, want.Image)
			if err != nil {
				t.Fatal(err)
			}
			desired := &drift.Desired{Device: "device-1", Network: network, Container: want}
			if found := drift.Compare(desired, image, &live.Live); len(found) != 0 {
				t.Fatalf("it differs: %v\nwanted %+v\nlive %+v", found, want, live)
			}
		}
		mutation := rapid.SampledFrom(spectest.Mutations()).Draw(t, "mutation")
		changed := want
		field := mutation.Change(&changed)
		if field == "" || network == drift.Host && strings.HasPrefix(field, "ports.") {
			return
		}
		if _, err := e.Image(ctx, changed.Image); err != nil {
			// There is nothing to make it of.
			return
		}
		r.Accept(state(2, changed))
		if _, err := r.Reconcile(ctx); err != nil {
			t.Fatal(err)
		}
		reasons := p.reasons()
		if len(reasons) < 2 || reasons[1] == nil {
			t.Fatalf("after %s it was not replaced: %+v", mutation.Name, reasons)
		}
		if fields := fieldsOf(reasons[1].Drift); !slices.Equal(fields, []string{field}) {
			t.Fatalf("after %s it was replaced because of %v, want %s alone", mutation.Name, fields, field)
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

// empty removes all containers.
func empty(t *rapid.T, e *engine.Engine) {
	ctx, cancel := context.WithTimeout(context.Background(), realDeadline)
	defer cancel()
	list, err := e.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if err := e.Remove(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
	}
}
