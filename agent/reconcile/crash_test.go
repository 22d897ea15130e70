package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

const workload = "localhost/workload:1"

// realDeadline bounds waits for real podman; none expects to reach it.
const realDeadline = 2 * time.Minute

// mortal is real podman behind an agent that is killed: after so many changes the
// agent does nothing any more, not even what it was about to.
type mortal struct {
	*engine.Engine

	mu      sync.Mutex
	changes []string
	// lives is how many changes it lives for; 0 is for ever.
	lives int
	// killed is closed when it is.
	killed chan struct{}
}

// errKilled is none that podman gives as an answer.
var errKilled = fmt.Errorf("the agent was killed: %w", engine.ErrUnavailable)

func newMortal(podman *engine.Engine, lives int) *mortal {
	return &mortal{Engine: podman, lives: lives, killed: make(chan struct{})}
}

// change makes a change if the agent lives, and kills it after its last.
func (m *mortal) change(what string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead() {
		return errKilled
	}
	err := do()
	if last := len(m.changes) - 1; what == "start" && last >= 0 && m.changes[last] == what {
		// Where podman is slow, the agent helps to start again what ended.
		return err
	}
	m.changes = append(m.changes, what)
	if len(m.changes) == m.lives {
		close(m.killed)
		return errKilled
	}
	return err
}

func (m *mortal) dead() bool {
	select {
	case <-m.killed:
		return true
	default:
		return false
	}
}

func (m *mortal) made() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.changes)
}

func (m *mortal) Create(ctx context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (id string, err error) {
	err = m.change("create", func() error { id, err = m.Engine.Create(ctx, name, want, replaced); return err })
	return id, err
}

func (m *mortal) Start(ctx context.Context, id string) error {
	return m.change("start", func() error { return m.Engine.Start(ctx, id) })
}

func (m *mortal) Stop(ctx context.Context, id string) error {
	return m.change("stop", func() error { return m.Engine.Stop(ctx, id) })
}

func (m *mortal) Rename(ctx context.Context, id, name string) error {
	return m.change("rename", func() error { return m.Engine.Rename(ctx, id, name) })
}

func (m *mortal) Remove(ctx context.Context, id string) error {
	return m.change("remove", func() error { return m.Engine.Remove(ctx, id) })
}

// device is one device with real podman, whose agents come and go.
type device struct {
	t      *testing.T
	podman *podmantest.Engine
	engine *engine.Engine
	folder string
}

func newDevice(t *testing.T, podman *podmantest.Engine) *device {
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	return &device{t: t, podman: podman, engine: e, folder: t.TempDir()}
}

// agent starts an agent that lives for so many changes, and follows a state.
func (d *device) agent(lives int, containers ...protocol.Container) (*Reconciler, *mortal, func()) {
	m := newMortal(d.engine, lives)
	r := New(Settings{
		Device: "device-1", Network: drift.Host, Compare: time.Hour, StateDir: d.folder,
		Steady: 700 * time.Millisecond, Changed: func() {},
	}, m, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	d.t.Cleanup(stop)
	r.Accept(state(1, containers...))
	return r, m, stop
}

func (d *device) eventually(what string, check func() error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), realDeadline)
	defer cancel()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.t.Fatalf("%s: %v", what, err)
		}
	}
}

// await waits until the container has a phase, and it and nothing else is there.
func (d *device) await(r *Reconciler, phase protocol.ContainerPhase) protocol.ContainerStatus {
	d.t.Helper()
	var found protocol.ContainerStatus
	d.eventually("the container is "+string(phase), func() error {
		found = r.Status().Containers[0]
		if found.Phase != phase {
			return fmt.Errorf("it is %+v", found)
		}
		list, err := d.engine.List(d.t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "web" {
			return fmt.Errorf("containers are %+v, %w", list, err)
		}
		return nil
	})
	return found
}

func (d *device) id() string {
	d.t.Helper()
	c, err := d.engine.Inspect(d.t.Context(), "web")
	if err != nil {
		d.t.Fatal(err)
	}
	return fmt.Sprintf("%s %t", c.ID, c.State.Running())
}

// clean removes all containers.
func (d *device) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), realDeadline)
	defer cancel()
	list, err := d.engine.List(ctx)
	for _, c := range list {
		err = errors.Join(err, d.engine.Remove(ctx, c.ID))
	}
	if err != nil {
		d.t.Error(err)
	}
}

func subject(change ...func(*protocol.Container)) protocol.Container {
	c := web(protocol.EnvVar{Name: "LEVEL", Value: "old"})
	c.Image = workload
	for _, do := range change {
		do(&c)
	}
	return c
}

func level(value string) func(*protocol.Container) {
	return func(c *protocol.Container) { c.Env = []protocol.EnvVar{{Name: "LEVEL", Value: value}} }
}

func args(args ...string) func(*protocol.Container) {
	return func(c *protocol.Container) { c.Args = args }
}

// The agent is killed after each change that it makes to podman in the course of an
// update, of one that works, one that does not, and one that is taken back by whoever
// asked for it. The next agent ends it right: one container, the right one, and the
// old one's id where it is the right one.
func TestKilledAtEveryStepOfAnUpdate(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	podman.Load(t, "localhost/other:1", v1.Config{Entrypoint: []string{podmantest.Workload}, Labels: map[string]string{"other": "1"}})
	old := subject()
	tests := []struct {
		name string
		// next is what is asked for, and after what is once the agent was killed.
		next, after protocol.Container
		phase       protocol.ContainerPhase
		steps       []string
	}{
		{"that works", subject(level("new")), subject(level("new")), protocol.ContainerRunning,
			[]string{"create", "stop", "rename", "rename", "start", "remove"}},
		{"that does not", subject(level("new"), args("exit", "3")), subject(level("new"), args("exit", "3")), protocol.ContainerRolledBack,
			[]string{"create", "stop", "rename", "rename", "start", "remove", "rename", "start"}},
		{"that is unwanted", subject(level("new")), old, protocol.ContainerRunning,
			[]string{"create", "stop", "rename", "rename", "start"}},
	}
	for _, test := range tests {
		for step := range len(test.steps) {
			t.Run(fmt.Sprintf("update %s/after %d %s", test.name, step+1, test.steps[step]), func(t *testing.T) {
				d := newDevice(t, podman)
				t.Cleanup(d.clean)
				first, _, stop := d.agent(0, old)
				d.await(first, protocol.ContainerRunning)
				stop()
				before := d.id()

				_, killed, stop := d.agent(step+1, test.next)
				select {
				case <-killed.killed:
				case <-time.After(realDeadline):
					t.Fatalf("not killed after %v", killed.made())
				}
				stop()
				if made := killed.made(); !slices.Equal(made, test.steps[:step+1]) {
					t.Fatalf("it did %v, want %v", made, test.steps[:step+1])
				}

				second, m, _ := d.agent(0, test.after)
				status := d.await(second, test.phase)
				made := m.made()
				if same := d.id() == before; same != (test.phase == protocol.ContainerRolledBack || test.after.Env[0] == old.Env[0]) {
					t.Errorf("the id is %s, was %s, after %v", d.id(), before, made)
				}
				if !strings.HasSuffix(d.id(), " true") {
					t.Errorf("it does not run: %s, after %v", d.id(), made)
				}
				if test.phase == protocol.ContainerRolledBack && (status.Rollback == nil || status.Rollback.Reason == "") {
					t.Errorf("the status does not say why: %+v", status)
				}
				// Nothing is done any more.
				reconcile(t, second)
				reconcile(t, second)
				if after := m.made(); len(after) != len(made) {
					t.Errorf("it goes on after %v: %v", made, after[len(made):])
				}
			})
		}
	}
}

func TestTakesBackWhatDoesNotWork(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	check := func(command ...string) func(*protocol.Container) {
		return func(c *protocol.Container) {
			c.HealthCheck = &protocol.HealthCheck{Command: command, IntervalSeconds: 1, TimeoutSeconds: 10, Retries: 2}
		}
	}
	for name, row := range map[string]struct {
		change  []func(*protocol.Container)
		reason  string
		message string
	}{
		"no such program":                    {[]func(*protocol.Container){func(c *protocol.Container) { c.Command = []string{"/no/such/program"} }}, ReasonStartFailed, "no/such/program"},
		"ends again and again":               {[]func(*protocol.Container){args("exit", "3")}, ReasonRestarting, "status 3"},
		"ends, and may not be started again": {[]func(*protocol.Container){args("exit", "4"), func(c *protocol.Container) { c.RestartPolicy = protocol.RestartNever }}, ReasonExited, "status 4"},
		"is not healthy":                     {[]func(*protocol.Container){level("a-secret"), check(podmantest.Workload, "exit", "7")}, ReasonUnhealthy, "status 7"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, podman)
			t.Cleanup(d.clean)
			r, m, stop := d.agent(0, subject(check(podmantest.Workload, "true")))
			good := d.await(r, protocol.ContainerRunning)
			bad := subject(row.change...)
			r.Accept(state(2, bad))
			status := d.await(r, protocol.ContainerRolledBack)
			if status.ContainerID != good.ContainerID || !strings.HasSuffix(d.id(), " true") {
				t.Errorf("runs %s (%s), want %s", status.ContainerID, d.id(), good.ContainerID)
			}
			if b := status.Rollback; status.Reason != row.reason || b == nil || b.Reason != row.reason || !strings.Contains(b.Message, row.message) || b.ImageDigest == "" {
				t.Errorf("status %+v with %+v, want %s because of %q", status, b, row.reason, row.message)
			} else if strings.Contains(fmt.Sprintf("%+v", b), "a-secret") {
				t.Errorf("the status tells a value: %+v", b)
			}
			// It is not tried again, not even after a restart of the agent.
			made := len(m.made())
			reconcile(t, r)
			if after := m.made(); len(after) != made {
				t.Errorf("it was tried again: %v", after[made:])
			}
			stop()
			again, m, _ := d.agent(0, bad)
			d.await(again, protocol.ContainerRolledBack)
			reconcile(t, again)
			if made := m.made(); len(made) != 0 {
				t.Errorf("after a restart it was tried again: %v", made)
			}
			// Unless somebody asks for it.
			if err := again.Retry("web"); err != nil {
				t.Fatal(err)
			}
			d.eventually("another attempt", func() error {
				if !slices.Contains(m.made(), "create") {
					return fmt.Errorf("it did %v", m.made())
				}
				return nil
			})
			d.await(again, protocol.ContainerRolledBack)
			if err := again.Retry("other"); !errors.Is(err, ErrNotDesired) {
				t.Errorf("retry of what is not desired: %v, want %v", err, ErrNotDesired)
			}
			// Or something else is desired.
			again.Accept(state(3, subject(level("new"), check(podmantest.Workload, "true"))))
			if status := d.await(again, protocol.ContainerRunning); status.ContainerID == good.ContainerID || status.Rollback != nil {
				t.Errorf("after a good update: %+v", status)
			}
		})
	}
}
