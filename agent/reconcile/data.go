package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/protocol"
)

// The reasons of a container's status that are about its data.
const (
	ReasonDataFailed    = "DataFailed"
	ReasonPathForbidden = "PathForbidden"
	ReasonSecretSealed  = "SecretSealedForAnotherKey"
)

// Data keeps the volumes, files and secrets of containers.
type Data interface {
	// Resolve names the secrets that the container is to be made with.
	Resolve(want *drift.Desired) (*drift.Desired, error)
	// Secrets are the values of those secrets, which nobody is to be told.
	Secrets(want *drift.Desired) []string
	// Of has the container's files where live has its own, and Beside where none of
	// the others has any, of which each may be nil.
	Of(want *drift.Desired, live *engine.Container) *drift.Desired
	Beside(want *drift.Desired, others ...*engine.Container) *drift.Desired
	// Prepare brings it about, and says what it changed.
	Prepare(ctx context.Context, want *drift.Desired) (changed []string, err error)
	// RestartDue reports whether a container has to be started again to see its
	// files; Restarted notes that it was.
	RestartDue(live *engine.Container) bool
	Restarted(live *engine.Container) error
	// Settle removes what no container of live's name but live has, Retain what none
	// has at all.
	Settle(live *engine.Container) error
	Retain(ctx context.Context, wanted func() []*drift.Desired, live func() ([]engine.Summary, error)) error
}

// prepare brings about what the container needs besides its image.
func (r *Reconciler) prepare(ctx context.Context, want *drift.Desired) error {
	changed, err := r.data.Prepare(ctx, want)
	if len(changed) > 0 {
		r.log.InfoContext(ctx, "put a container's data right", "container", want.Container.Name, "fields", changed)
		r.acted(want.Container.Name)
	}
	return err
}

// remember notes what a container that works asks of its volumes: it has to find that
// again when it comes back.
func (r *Reconciler) remember(want *drift.Desired) {
	owned := slices.DeleteFunc(slices.Clone(want.Container.Volumes), func(v protocol.Volume) bool { return v.Owner == "" && v.Mode == "" })
	r.updates.Change(want.Container.Name, func(record *update.Record) {
		switch {
		case len(owned) == 0:
			record.Volumes = nil
		case record.Volumes == nil || !slices.Equal(*record.Volumes, owned):
			record.Volumes = &owned
		}
	})
}

// giveBack has the last good container find its volumes as it asked for them, which
// what was wanted instead may have changed.
func (r *Reconciler) giveBack(ctx context.Context, want *drift.Desired) error {
	volumes := r.updates.Get(want.Container.Name).Volumes
	if volumes == nil {
		return nil
	}
	back := *want
	back.Container.Volumes, back.Container.Secrets, back.Files = *volumes, nil, nil
	return r.prepare(ctx, &back)
}

// refresh has a container see its new files, if it runs and can see them only when
// it is started again. It stays the same container.
func (r *Reconciler) refresh(ctx context.Context, name string, live *engine.Container) (*engine.Container, error) {
	if !live.State.Running() || !r.data.RestartDue(live) {
		return live, nil
	}
	r.log.InfoContext(ctx, "starting a container again, because its files have changed", "container", name, "id", live.ID)
	if err := r.engine.Restart(ctx, live.ID); err != nil {
		return live, err
	}
	r.acted(name)
	if err := r.data.Restarted(live); err != nil {
		return live, err
	}
	return r.engine.Inspect(ctx, live.ID)
}

// begin starts a container, which sees its files as they are then.
func (r *Reconciler) begin(ctx context.Context, live *engine.Container) error {
	if err := r.engine.Start(ctx, live.ID); err != nil {
		return err
	}
	return r.data.Restarted(live)
}

// remove removes a container, and soon after what nobody else has of its data: the value
// of a secret is not kept for longer than the container that was given it.
func (r *Reconciler) remove(ctx context.Context, id string) error {
	if err := r.engine.Remove(ctx, id); err != nil {
		return err
	}
	r.queue.Add(keyRetain)
	return nil
}

// retain removes data that no container has any more. That it cannot be is no
// reason to do anything else later.
func (r *Reconciler) retain(ctx context.Context) {
	wanted := func() []*drift.Desired {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Collect(maps.Values(r.wanted))
	}
	live := func() ([]engine.Summary, error) { return r.engine.List(ctx) }
	if err := r.data.Retain(ctx, wanted, live); err != nil && ctx.Err() == nil {
		r.log.WarnContext(ctx, "could not remove data that no container has any more", "error", err)
	}
}

// errNoData says that a reconciler was made without a keeper of data.
var errNoData = errors.New("nobody keeps files and secrets here")

// noData is for those who have no data: containers that need some fail.
type noData struct{}

func (noData) Resolve(want *drift.Desired) (*drift.Desired, error) {
	if c := &want.Container; len(c.Files)+len(c.Secrets) > 0 {
		return nil, fmt.Errorf("container %q: %w", c.Name, errNoData)
	}
	return want, nil
}

func (noData) Secrets(*drift.Desired) []string                                   { return nil }
func (noData) Of(want *drift.Desired, _ *engine.Container) *drift.Desired        { return want }
func (noData) Beside(want *drift.Desired, _ ...*engine.Container) *drift.Desired { return want }
func (noData) Prepare(context.Context, *drift.Desired) ([]string, error)         { return nil, nil }
func (noData) RestartDue(*engine.Container) bool                                 { return false }
func (noData) Restarted(*engine.Container) error                                 { return nil }
func (noData) Settle(*engine.Container) error                                    { return nil }
func (noData) Retain(context.Context, func() []*drift.Desired, func() ([]engine.Summary, error)) error {
	return nil
}
