package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/health"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/protocol"
)

// Waits for what a container does by itself.
const (
	// engineRestarts is how long podman may take to start an ended container
	// again by its restart policy, before the agent does.
	engineRestarts = 2 * time.Second
	// engineRestartsLast is the longest wait, for one that ends again and again.
	engineRestartsLast = 2 * time.Minute
	// passing is the wait for a state that does not last, such as stopping.
	passing = time.Second
)

// run starts a container that should run and does not.
func (r *Reconciler) run(ctx context.Context, want *drift.Desired, live *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	var verb string
	var change func() error
	switch {
	case live.State.Status == "paused":
		verb, change = "unpausing", func() error { return r.engine.Unpause(ctx, live.ID) }
	case due(want.Container.RestartPolicy, live.State, r.pace.wait(want.Container.Name, live.State), time.Now()):
		verb, change = "starting", func() error { return r.start(ctx, want.Container.Name, live) }
	default:
		status, again := r.judge(want, live, time.Now())
		return status, again, nil
	}
	r.log.InfoContext(ctx, verb+" a container", "container", want.Container.Name, "id", live.ID, "state", live.State.Status)
	if err := change(); err != nil {
		return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
	}
	r.acted(want.Container.Name)
	started, err := r.engine.Inspect(ctx, live.ID)
	if err != nil {
		return failed(want, live, reasonFor(err, ReasonStartFailed), err.Error()), 0, err
	}
	status, again := r.judge(want, started, time.Now())
	return status, again, nil
}

// start starts a container. The engine then forgets how often it did itself.
func (r *Reconciler) start(ctx context.Context, name string, live *engine.Container) error {
	if live.State.Began() {
		restarts := r.restarts(live) + 1
		r.updates.Change(name, func(record *update.Record) { record.Counted, record.Restarts = live.ID, restarts })
		r.pace.began(name, live.State)
	}
	return r.begin(ctx, live)
}

// due reports whether the agent has to start the container, one that ended only once
// wait has passed since.
func due(policy protocol.RestartPolicy, state engine.State, wait time.Duration, now time.Time) bool {
	switch {
	case state.Running():
		return false
	case state.Ended():
		return startsAgain(policy, state.ExitCode) && waited(state.EndedAt, wait, now)
	case state.Status == "created" || state.Status == "configured" || state.Status == "initialized":
		// After a power cut podman shows what ran as created.
		return policy != protocol.RestartNever || !state.Began()
	default:
		return false
	}
}

// waited reports whether wait has passed since then. A clock that was set back tells
// nothing, and holds nothing up.
func waited(then time.Time, wait time.Duration, now time.Time) bool {
	passed := now.Sub(then)
	return passed < 0 || passed >= wait
}

// startsAgain reports whether a container that ended is to be started again.
func startsAgain(policy protocol.RestartPolicy, exitCode int32) bool {
	return policy == protocol.RestartAlways || policy == protocol.RestartOnFailure && exitCode != 0
}

// judge says how a container is doing that needs no start, and when that may
// change without an event.
func (r *Reconciler) judge(want *drift.Desired, live *engine.Container, now time.Time) (protocol.ContainerStatus, time.Duration) {
	policy, state := want.Container.RestartPolicy, live.State
	if !state.Running() {
		// Until it runs again there is nothing to be checked.
		r.monitor.Forget(want.Container.Name)
	}
	switch {
	case state.Running():
		if age := now.Sub(state.StartedAt); (state.Restarts > 0 || r.pace.again(want.Container.Name)) && age >= 0 && age < r.settings.Steady {
			return pendingOn(want, live, ReasonRestarting, "it ended and was started again"), r.settings.Steady - age
		}
		switch result := r.checked(want, live); result.State {
		case health.Starting:
			return pendingOn(want, live, ReasonHealthChecking, result.Failure), 0
		case health.Unhealthy:
			return failed(want, live, ReasonUnhealthy, result.Failure), 0
		}
		return statusOf(want, live, protocol.ContainerRunning, "", ""), 0
	case state.Ended() && startsAgain(policy, state.ExitCode):
		wait := r.pace.wait(want.Container.Name, state)
		return pendingOn(want, live, ReasonRestarting, "it ended and will be started again"),
			min(max(wait-now.Sub(state.EndedAt), passing/10), wait)
	case state.Ended() && state.ExitCode == 0:
		return statusOf(want, live, protocol.ContainerCompleted, "", ""), 0
	case state.Ended():
		return failed(want, live, ReasonExited, fmt.Sprintf("it ended with status %d", state.ExitCode)), 0
	case policy == protocol.RestartNever && state.Began():
		return failed(want, live, ReasonInterrupted, "the device went down while it ran, and it may not be started again"), 0
	default:
		return pendingOn(want, live, ReasonStarting, "podman says it is "+state.Status), passing
	}
}
