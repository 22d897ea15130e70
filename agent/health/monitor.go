package health

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// State is what is known of a container.
type State int

// The states of a container.
const (
	// Starting is not known to work yet.
	Starting State = iota
	// Healthy works.
	Healthy
	// Unhealthy does not.
	Unhealthy
)

// Result is what the checks of a container have shown.
type Result struct {
	State State
	// Failure says what was wrong when a check last failed; "" if none did since
	// one succeeded.
	Failure string
}

// Target is one life of a container: a restart begins another.
type Target struct {
	ID        string
	StartedAt time.Time
	// Address is where a port of the container is reached.
	Address func(port uint16) string
}

// Probe carries out one check within ctx. An error says what is wrong.
type Probe func(ctx context.Context, target Target, check *protocol.HealthCheck) error

// firstWait is the wait after the first check that fails. It doubles until it is
// the check's interval, so that a container that is up is soon seen to be; only
// one failure an interval counts.
const firstWait = 250 * time.Millisecond

// Monitor carries out the checks of containers.
type Monitor struct {
	probe   Probe
	changed func(name string)

	life context.Context
	end  context.CancelFunc
	all  sync.WaitGroup

	mu      sync.Mutex
	watched map[string]*watch
}

type watch struct {
	target Target
	check  *protocol.HealthCheck
	result Result
	stop   context.CancelFunc
}

// NewMonitor returns a monitor that calls changed when what it knows of a container
// has changed; that must not block. [Monitor.Stop] ends it.
func NewMonitor(probe Probe, changed func(name string)) *Monitor {
	m := &Monitor{probe: probe, changed: changed, watched: make(map[string]*watch)}
	m.life, m.end = context.WithCancel(context.Background())
	return m
}

// Watch has a container checked from now on, and returns what is known of it.
func (m *Monitor) Watch(name string, target Target, check *protocol.HealthCheck) Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.watched[name]; w != nil {
		if w.target.ID == target.ID && w.target.StartedAt.Equal(target.StartedAt) && reflect.DeepEqual(w.check, check) {
			return w.result
		}
		w.stop()
	}
	ctx, stop := context.WithCancel(m.life)
	w := &watch{target: target, check: check, stop: stop}
	m.watched[name] = w
	if m.life.Err() == nil {
		m.all.Go(func() { m.follow(ctx, name, w) })
	}
	return w.result
}

// Forget ends the checks of a container.
func (m *Monitor) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if w := m.watched[name]; w != nil {
		w.stop()
		delete(m.watched, name)
	}
}

// Stop ends all checks and waits until they have ended.
func (m *Monitor) Stop() {
	m.mu.Lock()
	m.end()
	m.mu.Unlock()
	m.all.Wait()
}

// follow checks a container until ctx ends.
func (m *Monitor) follow(ctx context.Context, name string, w *watch) {
	defer w.stop()
	interval := time.Duration(w.check.IntervalSeconds) * time.Second
	grace := time.Duration(w.check.StartPeriodSeconds) * time.Second
	count := counter{retries: int(w.check.Retries), interval: interval, free: time.Now().Add(max(min(grace-time.Since(w.target.StartedAt), grace), 0))}
	wait := min(firstWait, interval)
	for {
		err := m.try(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, ErrUnknown) {
			m.take(name, w, count.take(err, time.Now()))
		}
		if count.result.State == Starting {
			wait = min(2*wait, interval)
		} else {
			wait = interval
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// try carries out one check.
func (m *Monitor) try(ctx context.Context, w *watch) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.check.TimeoutSeconds)*time.Second)
	defer cancel()
	return m.probe(ctx, w.target, w.check)
}

// take notes a result, unless something else is watched by now.
func (m *Monitor) take(name string, w *watch, result Result) {
	m.mu.Lock()
	current := m.watched[name] == w
	// Why checks fail may be told in other words each time.
	changed := current && (w.result.State != result.State || (w.result.Failure == "") != (result.Failure == ""))
	if changed {
		w.result = result
	}
	m.mu.Unlock()
	if changed {
		m.changed(name)
	}
}

// counter makes a state of what checks show, one after the other.
type counter struct {
	retries  int
	interval time.Duration
	// free is until when no failure counts, and when the last one did.
	free   time.Time
	failed int
	result Result
}

// take counts one check.
func (c *counter) take(err error, now time.Time) Result {
	if err == nil {
		c.failed, c.result = 0, Result{State: Healthy}
		return c.result
	}
	c.result.Failure = err.Error()
	if c.result.State == Starting && now.Before(c.free) {
		return c.result
	}
	c.failed++
	// While it starts, checks come faster than failures count.
	c.free = now.Add(c.interval)
	if c.failed >= c.retries {
		c.result.State = Unhealthy
	}
	return c.result
}
