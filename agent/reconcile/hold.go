package reconcile

import (
	"context"
	"errors"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

// remaining returns the container that goes on running because the one that is
// wanted cannot be made now: one of the same deployment. Another's is removed, since
// that deployment has gone or lost the name.
func (r *Reconciler) remaining(ctx context.Context, want *drift.Desired, live, last *engine.Container) (*engine.Container, time.Duration, error) {
	if live == nil || mark.Deployment(live.Live.Labels).UID == want.Container.Deployment.UID {
		return r.hold(ctx, want, live, last)
	}
	if err := r.drop(ctx, live); err != nil {
		return live, 0, err
	}
	return nil, 0, nil
}

// hold sees to it that what there is runs, as it was made, for as long as what is
// wanted cannot be made: the device may have been off meanwhile. One that is on trial
// has to show all the same that it works, or what was put aside for it comes back. It
// returns what has the container's name then, and when to look again.
func (r *Reconciler) hold(ctx context.Context, want *drift.Desired, live, last *engine.Container) (*engine.Container, time.Duration, error) {
	if live == nil || mark.Deployment(live.Live.Labels).UID != want.Container.Deployment.UID {
		return live, 0, nil
	}
	// What was tried may have changed it, or put it aside.
	found, err := r.engine.Inspect(ctx, live.ID)
	if err != nil || found.Name != want.Container.Name {
		return live, 0, err
	}
	live = found
	if last != nil {
		works, again, err := r.attempt(ctx, want, live, last)
		if err != nil || works {
			return live, again, err
		}
		if live, err = r.goBack(ctx, want.Container.Name, live, last); err != nil {
			return nil, 0, err
		}
	}
	if aside := r.updates.Get(live.Name).Aside; aside != nil && aside.ID == live.ID {
		if live, err = r.restore(ctx, live); err != nil {
			return live, 0, err
		}
	}
	_, again, err := r.run(ctx, asMade(want, live), live)
	return live, again, err
}

// held sees to it that what there is runs although what is wanted cannot be brought
// about, and says why it cannot.
func (r *Reconciler) held(ctx context.Context, want *drift.Desired, live, last *engine.Container, reason string, err error) (protocol.ContainerStatus, time.Duration, error) {
	live, _, problem := r.hold(ctx, want, live, last)
	err = errors.Join(err, problem)
	return failed(want, live, reasonFor(err, reason), err.Error()), 0, err
}

// attempt has a container run that is on trial, although it is not wanted any more,
// and reports whether it may still work, and if so when to look again.
func (r *Reconciler) attempt(ctx context.Context, want *drift.Desired, live, last *engine.Container) (works bool, again time.Duration, err error) {
	if last.State.Running() {
		// podman starts all containers after a power cut.
		if err := r.engine.Stop(ctx, last.ID); err != nil {
			return false, 0, err
		}
	}
	as := asMade(want, live)
	if _, again, err = r.run(ctx, as, live); err != nil {
		if refusedByEngine(err) {
			return false, 0, nil
		}
		return false, 0, err
	}
	now, err := r.engine.Inspect(ctx, live.ID)
	if err != nil {
		return false, 0, err
	}
	verdict, wait, _ := r.verdict(as, now, time.Now())
	return verdict != bad, sooner(again, wait), nil
}

// asMade is what a container was asked to be when it was made, as far as that says
// how it is kept running.
func asMade(want *drift.Desired, live *engine.Container) *drift.Desired {
	as := *want
	as.Container.RestartPolicy, as.Container.HealthCheck = policyOf(live), nil
	return &as
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
