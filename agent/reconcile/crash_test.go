package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/data"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/agent/secret"
	"github.com/seatrial/seatrial/protocol"
)

const workload = "localhost/workload:1"

// realDeadline bounds waits for real podman; none expects to reach it.
const realDeadline = 2 * time.Minute

// mortal is real podman behind an agent that is killed after so many changes.
type mortal struct {
	*engine.Engine

	mu      sync.Mutex
	changes []string
	// lives is how many changes it lives for, of which it does not make the last if
	// it dies on the eve of it; 0 is for ever.
	lives int
	eve   bool
}

// change makes a change, and kills the agent after its last: it does nothing any
// more, not even what it was about to.
func (m *mortal) change(what string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if last := len(m.changes) - 1; what == "start" && last >= 0 && m.changes[last] == what {
		// Where podman is slow, the agent helps to start again what ended.
		return do()
	}
	ends := len(m.changes)+1 == m.lives
	if ends && m.eve {
		m.die()
	}
	err := do()
	m.changes = append(m.changes, what)
	if ends {
		m.die()
	}
	return err
}

// die says what was done.
func (m *mortal) die() {
	fmt.Println(strings.Join(m.changes, " "))
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	// No thread of it gets any further.
	select {}
}

func (m *mortal) made() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.changes)
}

func (m *mortal) CreateSecret(ctx context.Context, name string, value []byte) error {
	return m.change("secret", func() error { return m.Engine.CreateSecret(ctx, name, value) })
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

func (m *mortal) Restart(ctx context.Context, id string) error {
	return m.change("restart", func() error { return m.Engine.Restart(ctx, id) })
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
	keys   *secret.Keys
	// steady is that of the agents that are started from now on.
	steady time.Duration
}

// soon is how long a container must run where it does and somebody waits for it. Where
// it does not, a slow machine may take longer to end it, and the real time is waited for.
const soon = 700 * time.Millisecond

func newDevice(t *testing.T, podman *podmantest.Engine) *device {
	e := engine.New(podman.Socket)
	t.Cleanup(e.Close)
	folder := t.TempDir()
	keys, err := secret.LoadKeys(folder)
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, podman: podman, engine: e, folder: folder, keys: keys}
}

// agent starts an agent that follows a state.
func (d *device) agent(containers ...protocol.Container) (*Reconciler, *mortal, func()) {
	m := &mortal{Engine: d.engine}
	r := newAgent(m, d.folder, d.keys, d.steady, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	d.t.Cleanup(stop)
	r.Accept(state(1, containers...))
	return r, m, stop
}

// newAgent is what of an agent acts on podman.
func newAgent(m *mortal, folder string, keys *secret.Keys, steady time.Duration, log *slog.Logger) *Reconciler {
	return New(Settings{
		Device: "device-1", Network: drift.Host, Compare: time.Hour, StateDir: folder,
		Steady: steady, Changed: func() {},
		Data: data.New(data.Settings{Device: "device-1", StateDir: folder, Allowed: []string{"/"}, Keys: keys}, m),
	}, m, log)
}

// life is that of an agent that is a process of its own.
type life struct {
	Socket, Folder string
	Lives          int
	Eve            bool
	Steady         time.Duration
	Want           protocol.Container
}

// lifeVariable has this test's program be such an agent.
const lifeVariable = "RECONCILE_LIFE"

// dies has an agent die on the way to a container, with the last of so many changes, or
// on the eve of it. It returns those that were made. The agent is this test's program once more: it gets SIGKILL, and nothing in
// it is asked.
func (d *device) dies(lives int, eve bool, want protocol.Container) []string {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	told, err := json.Marshal(life{Socket: d.podman.Socket, Folder: d.folder, Lives: lives, Eve: eve, Steady: d.steady, Want: want})
	if err != nil {
		d.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(d.t.Context(), realDeadline)
	defer cancel()
	var did, log bytes.Buffer
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), lifeVariable+"="+string(told))
	cmd.Stdout, cmd.Stderr = &did, &log
	err = cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || ctx.Err() != nil {
		d.t.Fatalf("it was not killed after %d changes: %v\n%s", lives, err, log.String())
	}
	return strings.Fields(did.String())
}

// live is the life of an agent, which ends by SIGKILL after its last change.
func live(told string) error {
	var l life
	if err := json.Unmarshal([]byte(told), &l); err != nil {
		return err
	}
	keys, err := secret.LoadKeys(l.Folder)
	if err != nil {
		return err
	}
	e := engine.New(l.Socket)
	defer e.Close()
	m := &mortal{Engine: e, lives: l.Lives, eve: l.Eve}
	r := newAgent(m, l.Folder, keys, l.Steady, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	r.Accept(state(1, l.Want))
	r.Run(context.Background())
	return nil
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
// asked for it, and between what it writes to the disk and the change that follows. The
// next agent ends it right: one container, the right one, with what it was delivered,
// and the old one's id where it is the right one.
func TestKilledAtEveryStepOfAnUpdate(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	for _, u := range []course{
		{"that works", nil, false, protocol.ContainerRunning,
			[]string{"secret", "secret", "create", "stop", "rename", "rename", "start", "remove"}},
		{"that does not", []func(*protocol.Container){args("exit", "3")}, false, protocol.ContainerRolledBack,
			[]string{"secret", "secret", "create", "stop", "rename", "rename", "start", "remove", "rename", "start"}},
		{"that is unwanted", nil, true, protocol.ContainerRunning,
			[]string{"secret", "secret", "create", "stop", "rename", "rename", "start", "remove"}},
	} {
		for i, step := range u.steps {
			// Files come before secrets, and what is noted before these.
			if i == 0 || step == "stop" || step == "remove" {
				t.Run(fmt.Sprintf("update %s/before %d %s", u.name, i+1, step), func(t *testing.T) { u.killed(t, podman, i+1, true) })
			}
			if u.unwanted && step == "remove" {
				continue // it is done
			}
			t.Run(fmt.Sprintf("update %s/after %d %s", u.name, i+1, step), func(t *testing.T) { u.killed(t, podman, i+1, false) })
		}
	}
}

// course is that of an update in which the agent is killed.
type course struct {
	name string
	// change is what is asked for besides another level. It is no longer if it is
	// unwanted once the agent was killed.
	change   []func(*protocol.Container)
	unwanted bool
	phase    protocol.ContainerPhase
	steps    []string
}

// killed has the agent killed after a step, or on its eve, and another one end it.
func (u *course) killed(t *testing.T, podman *podmantest.Engine, step int, eve bool) {
	d := newDevice(t, podman)
	t.Cleanup(d.clean)
	if u.phase == protocol.ContainerRunning {
		d.steady = soon
	}
	old := subject(d.deliver("old"))
	next := subject(append(u.change, level("new"), d.deliver("new"))...)
	first, _, stop := d.agent(old)
	d.await(first, protocol.ContainerRunning)
	stop()
	before := d.id()

	want := u.steps[:step]
	if eve {
		want = u.steps[:step-1]
	}
	if made := d.dies(step, eve, next); !slices.Equal(made, want) {
		t.Fatalf("it did %v, want %v", made, want)
	}

	after, edition, back := next, "new", u.unwanted || u.phase == protocol.ContainerRolledBack
	if u.unwanted {
		after = old
	}
	if back {
		edition = "old"
	}
	second, m, _ := d.agent(after)
	status := d.await(second, u.phase)
	made := m.made()
	if same := d.id() == before; same != back {
		t.Errorf("the id is %s, was %s, after %v", d.id(), before, made)
	}
	if !strings.HasSuffix(d.id(), " true") {
		t.Errorf("it does not run: %s, after %v", d.id(), made)
	}
	if err := d.sees(edition); err != nil {
		t.Errorf("after %v: %v", made, err)
	}
	if u.phase == protocol.ContainerRolledBack && (status.Rollback == nil || status.Rollback.Reason == "") {
		t.Errorf("the status does not say why: %+v", status)
	}
	// Nothing is done any more.
	reconcile(t, second)
	reconcile(t, second)
	if after := m.made(); len(after) != len(made) {
		t.Errorf("it goes on after %v: %v", made, after[len(made):])
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
			r, m, stop := d.agent(subject(check(podmantest.Workload, "true")))
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
			again, m, _ := d.agent(bad)
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
