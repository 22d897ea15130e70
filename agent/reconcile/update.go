package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/health"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/protocol"
)

// Where a container stands on the way of an update follows from its name, which
// survives a power cut. No container that is asked for has a dot in its name.
const (
	// nextSuffix is appended to the name of a container that is made and has not
	// taken the other's place yet.
	nextSuffix = ".next"
	// lastSuffix is appended to the name of the last good container while the one in
	// its place has to show that it works.
	lastSuffix = ".last"
)

// trialRestarts is how often a container without a health check may end and be
// started again before it counts as one that does not work.
const trialRestarts = 3

// base is the name that a container of an update will have, or had.
func base(name string) (string, bool) {
	for _, suffix := range []string{nextSuffix, lastSuffix} {
		if cut, is := strings.CutSuffix(name, suffix); is {
			return cut, true
		}
	}
	return name, false
}

// own looks at a container of the agent's own; nil if there is none. A foreign one
// of that name is an error, as its name is in the way.
func (r *Reconciler) own(ctx context.Context, name string) (*engine.Container, error) {
	found, err := r.look(ctx, name)
	switch {
	case errors.Is(err, engine.ErrNoContainer):
		return nil, nil
	case err != nil:
		return nil, err
	case !mark.Owns(r.settings.Device, found.Live.Labels):
		return nil, fmt.Errorf("%w: %q", errForeign, name)
	}
	return found, nil
}

// errForeign says that a name is in the way.
var errForeign = errors.New("a container that this agent did not make has the name: remove or rename it")

// discard removes a container of the agent's own, if there is one.
func (r *Reconciler) discard(ctx context.Context, name string) error {
	found, err := r.own(ctx, name)
	if err != nil || found == nil {
		return err
	}
	return r.remove(ctx, found.ID)
}

// recover puts right what an update left that was cut short, by a power cut or by
// podman's going away, and returns what has the container's name then, and what was
// put aside for it. Each step may be cut short in its turn.
func (r *Reconciler) recover(ctx context.Context, name string, live *engine.Container) (now, last *engine.Container, err error) {
	r.mu.Lock()
	leftover, aside := r.leftovers[name], r.asides[name]
	delete(r.leftovers, name)
	r.mu.Unlock()
	if leftover || live == nil {
		if err := r.discard(ctx, name+nextSuffix); err != nil {
			return live, nil, fmt.Errorf("remove what an update left: %w", err)
		}
	}
	if live != nil && !aside && r.updates.Get(name).Aside == nil {
		return live, nil, nil
	}
	if last, err = r.own(ctx, name+lastSuffix); err != nil || last == nil {
		return live, nil, err
	}
	if live != nil {
		return live, last, nil
	}
	// The next one did not get the name any more.
	r.log.WarnContext(ctx, "an update was cut short, going on with the last good container", "container", name, "id", last.ID)
	if err := r.engine.Rename(ctx, last.ID, name); err != nil {
		return nil, nil, err
	}
	r.asideIs(name, false)
	last.Name = name
	return last, nil, nil
}

// asideIs notes whether a container has another put aside.
func (r *Reconciler) asideIs(name string, there bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if there {
		r.asides[name] = true
	} else {
		delete(r.asides, name)
	}
}

// replace makes the new container before the old one is touched: what cannot be
// made leaves the old one running. An old one that works is put aside until the new
// one is seen to work.
func (r *Reconciler) replace(ctx context.Context, want *drift.Desired, old, last *engine.Container, differences []protocol.Difference) (string, error) {
	name := want.Container.Name
	// A container does not outlive its deployment.
	keep := last == nil && r.works(old) && mark.Deployment(old.Live.Labels).UID == want.Container.Deployment.UID
	r.log.WarnContext(ctx, "replacing a container, because it is not as it should be",
		"container", name, "id", old.ID, "drift", lines(differences), "way back", keep || last != nil)
	if err := r.discard(ctx, name+nextSuffix); err != nil {
		return "", err
	}
	if keep {
		if err := r.discard(ctx, name+lastSuffix); err != nil {
			return "", err
		}
	}
	record := &protocol.Replacement{Time: time.Now().UTC(), Drift: bounded(differences)}
	id, err := r.engine.Create(ctx, name+nextSuffix, want, record)
	if err != nil {
		return "", err
	}
	if keep {
		err = r.putAside(ctx, name, old)
	} else {
		err = r.remove(ctx, old.ID)
	}
	if err != nil {
		return "", err
	}
	if err := r.engine.Rename(ctx, id, name); err != nil {
		return "", err
	}
	return id, nil
}

// putAside stops a container and keeps it under another name.
func (r *Reconciler) putAside(ctx context.Context, name string, old *engine.Container) error {
	r.updates.Change(name, func(record *update.Record) {
		if record.Aside == nil || record.Aside.ID != old.ID {
			record.Aside = &update.Aside{ID: old.ID, Ran: old.State.Running()}
		}
	})
	if err := r.engine.Stop(ctx, old.ID); err != nil {
		return err
	}
	if err := r.engine.Rename(ctx, old.ID, name+lastSuffix); err != nil {
		return err
	}
	r.asideIs(name, true)
	return nil
}

// works reports whether a container is one to come back to.
func (r *Reconciler) works(c *engine.Container) bool {
	if record := r.updates.Get(c.Name); record.Good == c.ID || record.Aside != nil && record.Aside.ID == c.ID {
		return true
	}
	if r.sick(c) {
		return false
	}
	state := c.State
	if state.Running() {
		return state.Restarts == 0 || time.Since(state.StartedAt) >= r.settings.Steady
	}
	return state.Ended() && state.ExitCode == 0
}

// trial looks at a container that took another's place, and decides whether it
// stays: it does once it is healthy, or, without a health check, once it has run for
// a while or completed.
func (r *Reconciler) trial(ctx context.Context, want *drift.Desired, image *drift.Image, live, last *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	name := want.Container.Name
	if last.State.Running() {
		// podman starts all containers after a power cut.
		if err := r.engine.Stop(ctx, last.ID); err != nil {
			return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
		}
	}
	if r.updates.Get(name).Good == live.ID {
		if err := r.keep(ctx, name, live, last, image); err != nil {
			return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
		}
		return r.run(ctx, want, live)
	}
	status, again, err := r.run(ctx, want, live)
	if err != nil {
		if refusedByEngine(err) {
			return r.takeBack(ctx, want, image, live, last, ReasonStartFailed, err.Error())
		}
		return status, again, err
	}
	// What run did may have changed it.
	if live, err = r.engine.Inspect(ctx, live.ID); err != nil {
		return status, 0, err
	}
	verdict, wait, why := r.verdict(want, live, time.Now())
	switch verdict {
	case bad:
		return r.takeBack(ctx, want, image, live, last, why.reason, why.message)
	case good:
		r.remember(want)
		err := r.keep(ctx, name, live, last, image)
		return status, again, err
	default:
		return status, sooner(again, wait), nil
	}
}

// refusedByEngine reports whether the engine answered, and will not. That somebody
// removed the container says nothing about it.
func refusedByEngine(err error) bool {
	return !errors.Is(err, engine.ErrUnavailable) && !errors.Is(err, engine.ErrNoContainer) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}

// outcome is what a trial has shown.
type outcome int

const (
	undecided outcome = iota
	good
	bad
)

// cause is why a container does not work.
type cause struct{ reason, message string }

// verdict says whether a container works, and if that cannot be said yet, when to
// look again.
func (r *Reconciler) verdict(want *drift.Desired, live *engine.Container, now time.Time) (outcome, time.Duration, cause) {
	state, policy := live.State, want.Container.RestartPolicy
	if state.Ended() {
		switch {
		case state.ExitCode == 0 && policy != protocol.RestartAlways:
			return good, 0, cause{}
		case !startsAgain(policy, state.ExitCode):
			return bad, 0, cause{ReasonExited, fmt.Sprintf("it ended with status %d", state.ExitCode)}
		}
	}
	if restarts := r.restarts(live); restarts >= trialRestarts {
		return bad, 0, cause{ReasonRestarting, fmt.Sprintf("it ended %d times, the last time with status %d", restarts, r.exitOf(live).Code)}
	}
	if !state.Running() {
		return undecided, passing, cause{}
	}
	if want.Container.HealthCheck != nil {
		switch result := r.checked(want, live); result.State {
		case health.Healthy:
			return good, 0, cause{}
		case health.Unhealthy:
			return bad, 0, cause{ReasonUnhealthy, result.Failure}
		}
		return undecided, 0, cause{}
	}
	ran := r.ran(live, now)
	if ran >= r.settings.Steady {
		return good, 0, cause{}
	}
	return undecided, r.settings.Steady - ran, cause{}
}

// stint is one run of a container: a restart begins another.
type stint struct{ began, seen time.Time }

// ran is how long a container has been seen to run. The device's clock does not tell:
// one that has no battery leaps by years when it is first set, which a trial must not
// take for a long run.
func (r *Reconciler) ran(live *engine.Container, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, found := r.stints[live.ID]
	if !found || !l.began.Equal(live.State.StartedAt) {
		l = stint{began: live.State.StartedAt, seen: now}
		r.stints[live.ID] = l
	}
	return now.Sub(l.seen)
}

// keep ends an update: the new container works.
func (r *Reconciler) keep(ctx context.Context, name string, live, last *engine.Container, image *drift.Image) error {
	r.updates.Change(name, func(record *update.Record) {
		if record.Good == live.ID {
			return
		}
		record.Good, record.Failure = live.ID, nil
		record.Before, record.Image = last.Live.ImageID, live.Live.ImageID
	})
	if err := r.remove(ctx, last.ID); err != nil {
		return err
	}
	r.asideIs(name, false)
	r.updates.Change(name, func(record *update.Record) { record.Aside = nil })
	r.log.InfoContext(ctx, "an update is done", "container", name, "id", live.ID, "image", digestOf(image))
	return nil
}

// takeBack ends an update whose container does not work: what was desired is noted,
// so that it is not tried again, before anything is touched.
func (r *Reconciler) takeBack(ctx context.Context, want *drift.Desired, image *drift.Image, live, last *engine.Container, reason, message string) (protocol.ContainerStatus, time.Duration, error) {
	name := want.Container.Name
	log, err := r.said(ctx, live.ID)
	if err != nil {
		r.log.WarnContext(ctx, "could not read the log of a container that does not work", "container", name, "error", err)
	}
	env, secrets := want.Container.Env, r.data.Secrets(want)
	failure := &update.Failure{Spec: hash(want), Rollback: protocol.Rollback{
		Time: time.Now().UTC(), Reason: reason, Message: clip(update.Tail(message, env, secrets), maxMessage),
		ImageID: live.Live.ImageID, ImageDigest: digestOf(image), Log: update.Tail(log, env, secrets),
	}}
	r.updates.Change(name, func(record *update.Record) { record.Failure = failure })
	r.log.ErrorContext(ctx, "taking an update back", "container", name, "id", live.ID, "reason", reason, "last good", last.ID)
	back, err := r.goBack(ctx, name, live, last)
	if err != nil {
		return failed(want, live, reasonFor(err, reason), message), 0, err
	}
	return r.rolledBack(ctx, want, back, failure)
}

// saidLines is how many lines of a container's log are looked at.
const saidLines = 20

// said is the end of what a container said.
func (r *Reconciler) said(ctx context.Context, id string) (string, error) {
	var said strings.Builder
	err := r.engine.Logs(ctx, id, saidLines, false, func(_, text string) error {
		said.WriteString(text)
		said.WriteByte('\n')
		return nil
	})
	return said.String(), err
}

// goBack puts the last good container in the place of the one that has its name.
func (r *Reconciler) goBack(ctx context.Context, name string, live, last *engine.Container) (*engine.Container, error) {
	if err := r.remove(ctx, live.ID); err != nil {
		return nil, err
	}
	if err := r.engine.Rename(ctx, last.ID, name); err != nil {
		return nil, err
	}
	r.asideIs(name, false)
	r.acted(name)
	return r.engine.Inspect(ctx, last.ID)
}

// restore starts a container that was put aside and is back.
func (r *Reconciler) restore(ctx context.Context, live *engine.Container) (*engine.Container, error) {
	aside := r.updates.Get(live.Name).Aside
	if aside == nil {
		return live, nil
	}
	if aside.ID == live.ID && aside.Ran && !live.State.Running() {
		if err := r.begin(ctx, live); err != nil {
			return live, err
		}
		r.acted(live.Name)
		started, err := r.engine.Inspect(ctx, live.ID)
		if err != nil {
			return live, err
		}
		live = started
	}
	r.updates.Change(live.Name, func(record *update.Record) { record.Aside = nil })
	return live, nil
}

// rolledBack keeps the last good container running, and says why the desired one
// does not.
func (r *Reconciler) rolledBack(ctx context.Context, want *drift.Desired, live *engine.Container, failure *update.Failure) (protocol.ContainerStatus, time.Duration, error) {
	given := r.giveBack(ctx, want)
	live, err := r.restore(ctx, live)
	if err != nil {
		return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
	}
	status, again, err := r.run(ctx, asMade(want, live), live)
	if err == nil {
		err = errors.Join(given, r.data.Settle(live))
	}
	rollback := failure.Rollback
	status.Phase, status.Rollback = protocol.ContainerRolledBack, &rollback
	message := "what is desired did not work (" + rollback.Reason + "), the last good container is back"
	if status.Reason != "" {
		message += ", and is itself " + status.Reason
	}
	status.Reason, status.Message = rollback.Reason, clip(message+": "+rollback.Message, maxMessage)
	return status, again, err
}

// policyOf is the restart policy that a container was made with.
func policyOf(c *engine.Container) protocol.RestartPolicy {
	switch c.Live.RestartPolicy {
	case "always", "unless-stopped":
		return protocol.RestartAlways
	case "on-failure":
		return protocol.RestartOnFailure
	default:
		return protocol.RestartNever
	}
}

// hash tells what is wanted from all else. A secret counts by its value: sealed anew
// it is the same.
func hash(want *drift.Desired) string {
	c := want.Container
	c.Secrets = slices.Clone(c.Secrets)
	for i, s := range want.Secrets {
		c.Secrets[i].Sealed = []byte(s.Name)
	}
	return update.Hash(&c)
}

func digestOf(image *drift.Image) string {
	if image == nil {
		return ""
	}
	return image.Digest
}

// ErrNotDesired says that no container of that name is desired.
var ErrNotDesired = errors.New("no such container is desired")

// Retry has a container tried again now that was taken back, failed or waits for its
// next attempt. The error is [ErrNotDesired].
func (r *Reconciler) Retry(name string) error {
	want := r.want(name)
	if want == nil {
		return fmt.Errorf("%w: %q", ErrNotDesired, name)
	}
	r.updates.Change(name, func(record *update.Record) { record.Failure = nil })
	r.pace.forget(name)
	r.pulls.again(want.Container.Image)
	r.queue.Forget(name)
	r.queue.Add(name)
	return nil
}
