package reconcile

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/health"
	"github.com/seatrial/seatrial/protocol"
)

// heal sees to it that a container runs, and starts one again that runs and is not
// healthy: after a wait that doubles each time that did not help.
func (r *Reconciler) heal(ctx context.Context, want *drift.Desired, live *engine.Container) (protocol.ContainerStatus, time.Duration, error) {
	status, again, err := r.run(ctx, want, live)
	if err != nil || status.Reason != ReasonUnhealthy {
		return status, again, err
	}
	name := want.Container.Name
	wait := r.pace.sickness(name)
	if left := wait - time.Since(live.State.StartedAt); left > 0 && left <= wait {
		return status, left, nil
	}
	r.log.WarnContext(ctx, "starting a container again, because it is not healthy", "container", name, "id", live.ID, "failure", status.Message)
	if err := r.engine.Stop(ctx, live.ID); err != nil {
		return status, 0, err
	}
	r.pace.ill(name)
	if err := r.start(ctx, name, live); err != nil {
		return status, 0, err
	}
	r.acted(name)
	return status, passing, nil
}

// prober runs the commands of checks.
type prober struct{ engine Engine }

// Exec implements health.Engine: that podman is away is no container's fault.
func (p prober) Exec(ctx context.Context, id string, command []string) (int, error) {
	status, err := p.engine.Exec(ctx, id, command)
	if errors.Is(err, engine.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", health.ErrUnknown, err)
	}
	return status, err
}

// checked is what is known of the health of a container that runs. One without a
// check is healthy.
func (r *Reconciler) checked(want *drift.Desired, live *engine.Container) health.Result {
	name := want.Container.Name
	if want.Container.HealthCheck == nil {
		r.monitor.Forget(name)
		return health.Result{State: health.Healthy}
	}
	target := health.Target{ID: live.ID, StartedAt: live.State.StartedAt, Address: live.Address}
	result := r.monitor.Watch(name, target, want.Container.HealthCheck)
	r.mu.Lock()
	defer r.mu.Unlock()
	if result.State == health.Healthy {
		delete(r.ill, live.ID)
		r.pace.forget(name)
	} else {
		r.ill[live.ID] = true
	}
	return result
}

// sick reports whether a container was not healthy when it was last looked at.
func (r *Reconciler) sick(c *engine.Container) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ill[c.ID]
}

// restarts is how often a container was started again, by the engine and by the
// agent.
func (r *Reconciler) restarts(live *engine.Container) int32 {
	restarts := live.State.Restarts
	if record := r.updates.Get(live.Name); record.Counted == live.ID {
		restarts += record.Restarts
	}
	return restarts
}

// exitOf is how a container last ended.
func (r *Reconciler) exitOf(live *engine.Container) protocol.Exit {
	if live.State.Ended() {
		return protocol.Exit{Code: live.State.ExitCode, Time: live.State.EndedAt.UTC()}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.exits[live.ID]
}

// rounded is a count as it gets into a status.
func rounded(n int32) int32 {
	scale := int32(1)
	for n > 10 && n/scale > 9 {
		scale *= 10
	}
	return n / scale * scale
}

// pace remembers how often containers were started again in a row, so that one that
// ends again and again is started ever more seldom, but never not at all.
type pace struct {
	mu     sync.Mutex
	starts map[string]int
	sick   map[string]int
}

func newPace() *pace { return &pace{starts: make(map[string]int), sick: make(map[string]int)} }

// wait is how long after its end a container is started again.
func (p *pace) wait(name string, state engine.State) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state.EndedAt.Sub(state.StartedAt) >= DefaultSteady {
		return engineRestarts
	}
	return doubled(engineRestarts, p.starts[name], engineRestartsLast)
}

// began counts a start after an end.
func (p *pace) began(name string, ended engine.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ended.EndedAt.Sub(ended.StartedAt) >= DefaultSteady {
		p.starts[name] = 0
	}
	p.starts[name]++
}

// again reports whether a container was started again and again.
func (p *pace) again(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts[name] > 1
}

// sickness is how long a container may be not healthy until it is started again.
func (p *pace) sickness(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sick[name] == 0 {
		return 0
	}
	return doubled(engineRestarts, p.sick[name], engineRestartsLast)
}

// ill counts a start of a container that was not healthy.
func (p *pace) ill(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick[name]++
}

// forget begins anew.
func (p *pace) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.starts, name)
	delete(p.sick, name)
}

// doubled is first, doubled as often as said, and never more than last.
func doubled(first time.Duration, times int, last time.Duration) time.Duration {
	return min(first<<min(times, 16), last)
}
