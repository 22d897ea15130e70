package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/agent/volume"
	"github.com/seatrial/seatrial/protocol"
)

// keeper gives containers data as it is told.
type keeper struct {
	mu sync.Mutex
	// resolve and prepare fail with these.
	resolve, prepare error
	// due is whether a restart is due, and changed what the next preparation changes.
	due     bool
	changed []string
	done    []string
	// retained are the containers that there were when data was removed last.
	retained []string
}

func (k *keeper) note(what string) { k.done = append(k.done, what) }

func (k *keeper) Resolve(want *drift.Desired) (*drift.Desired, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return want, k.resolve
}

func (k *keeper) Prepare(context.Context, *drift.Desired) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("prepare")
	changed := k.changed
	k.changed = nil
	return changed, k.prepare
}

func (k *keeper) Secrets(*drift.Desired) []string { return nil }

func (k *keeper) Of(want *drift.Desired, _ *engine.Container) *drift.Desired { return want }

func (k *keeper) Beside(want *drift.Desired, _ ...*engine.Container) *drift.Desired { return want }

func (k *keeper) RestartDue(*engine.Container) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.due
}

func (k *keeper) Restarted(*engine.Container) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.due = false
	k.note("restarted")
	return nil
}

func (k *keeper) Settle(*engine.Container) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note("settle")
	return nil
}

func (k *keeper) Retain(_ context.Context, _ func() []*drift.Desired, live func() ([]engine.Summary, error)) error {
	there, err := live()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.retained = nil
	for _, c := range there {
		k.retained = append(k.retained, c.Name)
	}
	slices.Sort(k.retained)
	return err
}

// set changes what the keeper does from now on.
func (k *keeper) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done = nil
	change()
}

func (k *keeper) did() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.done)
}

// withKeeper runs a reconciler with data.
func withKeeper(t *testing.T, p *podman, k *keeper) *Reconciler {
	t.Helper()
	r := New(Settings{Device: "device-1", Network: drift.Host, Compare: time.Hour, StateDir: t.TempDir(), Changed: func() {}, Data: k}, p, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	r.Accept(state(1, web()))
	return r
}

func TestDataComesBeforeTheContainer(t *testing.T) {
	p, k := newPodman(), &keeper{prepare: errors.New("disk full")}
	r := withKeeper(t, p, k)
	reconcile(t, r)
	if names := p.names(); len(names) > 0 {
		t.Errorf("made without its data: %q", names)
	}
	if got := r.Status().Containers[0]; got.Phase != protocol.ContainerFailed || got.Message != "disk full" {
		t.Errorf("status is %+v", got)
	}
	k.set(func() { k.prepare = nil })
	reconcile(t, r)
	if names := p.names(); !slices.Equal(names, []string{"web"}) || r.Status().Containers[0].Phase != protocol.ContainerRunning {
		t.Errorf("there are %q, status %+v", names, r.Status())
	}
	if did := k.did(); did[len(did)-1] != "settle" || !slices.Contains(did, "restarted") {
		t.Errorf("the keeper was asked to %q", did)
	}
}

func TestFailuresOfDataHaveReasons(t *testing.T) {
	for want, fail := range map[string]func(*keeper){
		ReasonSecretSealed:  func(k *keeper) { k.resolve = secret.ErrSealed },
		ReasonPathForbidden: func(k *keeper) { k.prepare = volume.ErrForbidden },
		ReasonDataFailed:    func(k *keeper) { k.prepare = errors.New("disk full") },
	} {
		t.Run(want, func(t *testing.T) {
			p, k := newPodman(), new(keeper)
			r := withKeeper(t, p, k)
			reconcile(t, r)
			before, err := p.Inspect(t.Context(), "web")
			if err != nil {
				t.Fatal(err)
			}
			k.set(func() { fail(k) })
			reconcile(t, r)
			if got := r.Status().Containers[0]; got.Phase != protocol.ContainerFailed || got.Reason != want || got.ContainerID != before.ID {
				t.Errorf("status is %+v", got)
			}
			if now, err := p.Inspect(t.Context(), before.ID); err != nil || !now.State.Running() {
				t.Errorf("what ran no longer does: %v", err)
			}
		})
	}
}

// What only a container had that is gone goes with it, and not when everything is
// compared the next time, which takes an hour here.
func TestDataGoesWithItsContainer(t *testing.T) {
	p, k := newPodman(), new(keeper)
	r := withKeeper(t, p, k)
	left := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(deadline); ; {
			reached := slices.Equal(p.names(), want)
			k.mu.Lock()
			retained := slices.Clone(k.retained)
			k.mu.Unlock()
			switch {
			case reached && slices.Equal(retained, want):
				return
			case time.Now().After(end):
				t.Fatalf("there are %q, and data was removed last when there were %q, want %q", p.names(), retained, want)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	reconcile(t, r)
	r.Accept(state(2, web(protocol.EnvVar{Name: "LEVEL", Value: "1"})))
	reconcile(t, r)
	left("web")
	r.Accept(state(3))
	left()
}

func TestFilesHaveTheSameContainerStartedAgain(t *testing.T) {
	p, k := newPodman(), new(keeper)
	r := withKeeper(t, p, k)
	reconcile(t, r)
	before, err := p.Inspect(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	k.set(func() { k.due, k.changed = true, []string{"files./etc/x"} })
	if changed := reconcile(t, r); !slices.Equal(changed, []string{"web"}) {
		t.Errorf("it did something to %q", changed)
	}
	now, err := p.Inspect(t.Context(), "web")
	if err != nil || now.ID != before.ID || !now.State.StartedAt.After(before.State.StartedAt) {
		t.Errorf("it is %+v (%v), was %+v", now, err, before)
	}
	k.set(func() { k.changed = []string{"volumes./data"} })
	if changed := reconcile(t, r); !slices.Equal(changed, []string{"web"}) {
		t.Errorf("it did something to %q", changed)
	}
	if again, err := p.Inspect(t.Context(), "web"); err != nil || again.State.StartedAt != now.State.StartedAt {
		t.Errorf("it was started again for nothing: %+v (%v)", again, err)
	}
}

func TestWithoutAKeeperNoData(t *testing.T) {
	p := newPodman()
	r, _ := start(t, p, t.TempDir())
	c := web()
	c.Files = []protocol.File{{Path: "/etc/x", OnChange: protocol.OnChangeRestart}}
	r.Accept(state(1, c))
	reconcile(t, r)
	if got := r.Status().Containers[0]; got.Reason != ReasonDataFailed || len(p.names()) > 0 {
		t.Errorf("status is %+v", got)
	}
}
