package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/protocol"
)

// Waits for what a container does by itself.
const (
	// engineRestarts is how long podman may take to start an ended container
	// again by its restart policy, before the agent does.
	engineRestarts = 2 * time.Second
	// steady is how long a container that ended before must have run to count as
	// running: one that ends again and again never does.
	steady = 10 * time.Second
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
	case due(want.Container.RestartPolicy, live.State, time.Now()):
		verb, change = "starting", func() error { return r.engine.Start(ctx, live.ID) }
	default:
		status, again := judge(want, live, time.Now())
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
	status, again := judge(want, started, time.Now())
	return status, again, nil
}

// due reports whether the agent has to start the container.
func due(policy protocol.RestartPolicy, state engine.State, now time.Time) bool {
	switch {
	case state.Running():
		return false
	case state.Ended():
		return startsAgain(policy, state.ExitCode) && now.Sub(state.EndedAt) >= engineRestarts
	case state.Status == "created" || state.Status == "configured" || state.Status == "initialized":
		// After a power cut podman shows what ran as created.
		return policy != protocol.RestartNever || !state.Began()
	default:
		return false
	}
}

// startsAgain reports whether a container that ended is to be started again.
func startsAgain(policy protocol.RestartPolicy, exitCode int32) bool {
	return policy == protocol.RestartAlways || policy == protocol.RestartOnFailure && exitCode != 0
}

// judge says how a container is doing that needs no start, and when that may
// change without an event.
func judge(want *drift.Desired, live *engine.Container, now time.Time) (protocol.ContainerStatus, time.Duration) {
	policy, state := want.Container.RestartPolicy, live.State
	switch {
	case state.Running():
		if age := now.Sub(state.StartedAt); state.Restarts > 0 && age < steady {
			return pendingOn(want, live, ReasonRestarting, "it ended and was started again"), steady - age
		}
		return statusOf(want, live, protocol.ContainerRunning, "", ""), 0
	case state.Ended() && startsAgain(policy, state.ExitCode):
		return pendingOn(want, live, ReasonRestarting, "it ended and will be started again"),
			max(engineRestarts-now.Sub(state.EndedAt), passing/10)
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
