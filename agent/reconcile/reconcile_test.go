package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/desired"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/mark"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// podman is an engine that makes of what it is asked something of its own.
type podman struct {
	mu         sync.Mutex
	serial     int
	containers map[string]*engine.Container
	created    []string
	// shows changes how a container is shown that was just made.
	shows func(*drift.Live)
	hang  map[string]bool
}

func newPodman() *podman { return &podman{containers: make(map[string]*engine.Container)} }

func (p *podman) find(name string) *engine.Container {
	for _, c := range p.containers {
		if c.Name == name || c.ID == name {
			return c
		}
	}
	return nil
}

func (p *podman) List(context.Context) ([]engine.Summary, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []engine.Summary
	for _, c := range p.containers {
		list = append(list, engine.Summary{ID: c.ID, Name: c.Name, Labels: c.Live.Labels})
	}
	return list, nil
}

func (p *podman) Inspect(ctx context.Context, name string) (*engine.Container, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hang[name] {
		p.mu.Unlock()
		<-ctx.Done()
		p.mu.Lock()
		return nil, ctx.Err()
	}
	if c := p.find(name); c != nil {
		copied := *c
		return &copied, nil
	}
	return nil, engine.ErrNoContainer
}

func (p *podman) Image(context.Context, string) (*drift.Image, error) {
	return &drift.Image{ID: "image", Entrypoint: []string{"/run"}}, nil
}

func (p *podman) Pull(context.Context, string) error { return nil }

func (p *podman) Create(_ context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	id := fmt.Sprintf("id-%d", p.serial)
	c := &engine.Container{ID: id, Name: name, State: engine.State{Status: "created"}, Live: drift.Live{
		ImageID: "image", ImageName: want.Container.Image, Entrypoint: []string{"/run"}, Env: map[string]string{},
		Network: string(want.Network), RestartPolicy: "always", Labels: mark.Labels(want.Device, &want.Container, replaced),
	}}
	for _, e := range want.Container.Env {
		c.Live.Env[e.Name] = e.Value
	}
	if p.shows != nil {
		p.shows(&c.Live)
	}
	p.containers[id] = c
	p.created = append(p.created, name)
	return id, nil
}

func (p *podman) Start(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.find(id).State = engine.State{Status: "running", StartedAt: time.Now()}
	return nil
}

func (p *podman) Unpause(ctx context.Context, id string) error { return p.Start(ctx, id) }

func (p *podman) Rename(_ context.Context, id, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.find(id).Name = name
	return nil
}

func (p *podman) Remove(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.find(id); c != nil {
		delete(p.containers, c.ID)
	}
	return nil
}

func (p *podman) Events(ctx context.Context, _ func(string)) error { <-ctx.Done(); return ctx.Err() }

func (p *podman) names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, c := range p.containers {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}

func state(revision uint64, containers ...protocol.Container) *desired.State {
	return &desired.State{Revision: revision, Document: &protocol.DesiredState{Version: protocol.Version, Device: "device-1", Containers: containers}}
}

func web(env ...protocol.EnvVar) protocol.Container {
	return protocol.Container{
		Name: "web", Image: "localhost/web:1", Env: env, RestartPolicy: protocol.RestartAlways,
		Deployment: protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"},
	}
}

// start runs a reconciler until the test ends, or stop is called.
func start(t *testing.T, p *podman, folder string) (r *Reconciler, stop func()) {
	t.Helper()
	r = New(Settings{Device: "device-1", Network: drift.Host, Compare: time.Hour, StateDir: folder, Changed: func() {}}, p, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return r, stop
}

func reconcile(t *testing.T, r *Reconciler) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	changed, err := r.Reconcile(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// An engine that shows something in words nobody has heard of must not have its
// containers replaced for ever, not even after a restart of the agent.
func TestUnknownWordsOfTheEngineAreNoLoop(t *testing.T) {
	p, folder := newPodman(), t.TempDir()
	p.shows = func(live *drift.Live) {
		live.Env["INJECTED"] = "by containers.conf"
		live.RestartPolicy = "eternally"
	}
	r, stop := start(t, p, folder)
	r.Accept(state(1, web()))
	for range 3 {
		reconcile(t, r)
	}
	if !slices.Equal(p.created, []string{"web"}) {
		t.Fatalf("created %v, want web once", p.created)
	}
	stop()
	r, stop = start(t, p, folder)
	r.Accept(state(1, web()))
	if changed := reconcile(t, r); len(changed) != 0 {
		t.Errorf("after a restart %v changed", changed)
	}
	// What really changes is still seen, and alone named.
	r.Accept(state(2, web(protocol.EnvVar{Name: "LEVEL", Value: "1"})))
	if changed := reconcile(t, r); !slices.Equal(changed, []string{"web"}) {
		t.Errorf("changed %v, want web", changed)
	}
	want := []protocol.Difference{{Field: "env.LEVEL", Desired: "1", Live: ""}}
	if replaced := r.Status().Containers[0].Replaced; replaced == nil || !slices.Equal(replaced.Drift, want) {
		t.Errorf("replaced %+v, want %v", replaced, want)
	}
	stop()
	data, err := os.ReadFile(filepath.Join(folder, "tolerated.json"))
	if err != nil {
		t.Fatal(err)
	}
	if id := p.find("web").ID; !slices.Contains(slices.Collect(maps.Keys(loadTolerance(folder, quiet).known)), id) {
		t.Errorf("%s is not remembered: %s", id, data)
	}
}

func TestCutShortReplacementIsCleanedUp(t *testing.T) {
	p := newPodman()
	r, _ := start(t, p, t.TempDir())
	want := &drift.Desired{Device: "device-1", Network: drift.Host, Container: web()}
	for _, name := range []string{"web", "web" + nextSuffix, "gone" + nextSuffix} {
		if _, err := p.Create(t.Context(), name, want, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.Accept(state(1, web()))
	reconcile(t, r)
	if got := p.names(); !slices.Equal(got, []string{"web"}) {
		t.Errorf("containers %v, want web", got)
	}
	if p.find("web").ID != "id-1" {
		t.Error("the one in place was replaced")
	}
}

func TestHangingContainersLeaveWorkersForOthers(t *testing.T) {
	p := newPodman()
	p.hang = map[string]bool{"a": true, "b": true, "c": true}
	r, stop := start(t, p, t.TempDir())
	named := func(name string) protocol.Container { c := web(); c.Name = name; return c }
	r.Accept(state(1, named("a"), named("b"), named("c"), named("d"), named("e"), named("f")))
	for _, name := range []string{"d", "e", "f"} {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		if err := await(ctx, r.kick(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := r.Alive(ctx); err != nil {
		t.Errorf("not alive: %v", err)
	}
	if got := p.names(); !slices.Equal(got, []string{"d", "e", "f"}) {
		t.Errorf("containers %v, want d, e and f", got)
	}
	stop()
}

func TestNothingIsTouchedBeforeThereIsAState(t *testing.T) {
	p := newPodman()
	r, _ := start(t, p, t.TempDir())
	want := &drift.Desired{Device: "device-1", Network: drift.Host, Container: web()}
	if _, err := p.Create(t.Context(), "web", want, nil); err != nil {
		t.Fatal(err)
	}
	if changed := reconcile(t, r); len(changed) != 0 || len(p.names()) != 1 {
		t.Errorf("changed %v, left %v", changed, p.names())
	}
}

func TestAcceptKeepsWhatHasNotChanged(t *testing.T) {
	p := newPodman()
	r, _ := start(t, p, t.TempDir())
	other := web()
	other.Name = "other"
	r.Accept(state(1, web(), other))
	reconcile(t, r)
	r.mu.Lock()
	before := r.statuses["web"]
	r.mu.Unlock()
	if before.Phase != protocol.ContainerRunning {
		t.Fatalf("web is %+v", before)
	}
	changed := other
	changed.Env = []protocol.EnvVar{{Name: "A", Value: "1"}}
	// No worker gets at it before it is looked at.
	r.Reject(&desired.Rejection{Revision: 2, Err: errors.New("bad")})
	if status := r.Status(); status.Revision != 2 || status.Error == "" || status.Containers[0] != before {
		t.Errorf("after a rejection: %+v", status)
	}
	r.Accept(state(3, web(), changed))
	if status := r.Status(); status.Revision != 3 || status.Error != "" || status.Containers[0] != before {
		t.Errorf("after a new state: %+v", status)
	}
}

func TestDueAndJudge(t *testing.T) {
	now := time.Now()
	ran := func(status string, exit int32, ago time.Duration) engine.State {
		return engine.State{Status: status, ExitCode: exit, StartedAt: now.Add(-time.Hour), EndedAt: now.Add(-ago)}
	}
	restarted := engine.State{Status: "running", StartedAt: now.Add(-time.Second), Restarts: 4}
	steadied := engine.State{Status: "running", StartedAt: now.Add(-time.Minute), Restarts: 4}
	cut := engine.State{Status: "created", StartedAt: now.Add(-time.Hour)}
	tests := []struct {
		name   string
		policy protocol.RestartPolicy
		state  engine.State
		due    bool
		phase  protocol.ContainerPhase
		reason string
		again  bool
	}{
		{"runs", protocol.RestartNever, ran("running", 0, 0), false, protocol.ContainerRunning, "", false},
		{"ended a moment ago", protocol.RestartAlways, ran("exited", 0, 0), false, protocol.ContainerPending, ReasonRestarting, true},
		{"ended and podman does nothing", protocol.RestartAlways, ran("exited", 0, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"stopped by hand", protocol.RestartAlways, ran("stopped", 137, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"failed", protocol.RestartOnFailure, ran("exited", 1, time.Minute), true, protocol.ContainerPending, ReasonRestarting, true},
		{"succeeded", protocol.RestartOnFailure, ran("exited", 0, time.Minute), false, protocol.ContainerCompleted, "", false},
		{"completed", protocol.RestartNever, ran("exited", 0, time.Minute), false, protocol.ContainerCompleted, "", false},
		{"failed for good", protocol.RestartNever, ran("exited", 1, time.Minute), false, protocol.ContainerFailed, ReasonExited, false},
		{"never started", protocol.RestartNever, engine.State{Status: "created"}, true, protocol.ContainerPending, ReasonStarting, true},
		{"power cut", protocol.RestartOnFailure, cut, true, protocol.ContainerPending, ReasonStarting, true},
		{"power cut, not again", protocol.RestartNever, cut, false, protocol.ContainerFailed, ReasonInterrupted, false},
		{"restarted just now", protocol.RestartAlways, restarted, false, protocol.ContainerPending, ReasonRestarting, true},
		{"restarted long ago", protocol.RestartAlways, steadied, false, protocol.ContainerRunning, "", false},
		{"on its way down", protocol.RestartAlways, engine.State{Status: "stopping"}, false, protocol.ContainerPending, ReasonStarting, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := web()
			c.RestartPolicy = test.policy
			want := &drift.Desired{Device: "device-1", Container: c}
			if got := due(test.policy, test.state, now); got != test.due {
				t.Errorf("due is %t, want %t", got, test.due)
			}
			status, again := judge(want, &engine.Container{State: test.state}, now)
			if status.Phase != test.phase || status.Reason != test.reason || again > 0 != test.again {
				t.Errorf("%s %q, again in %s, want %s %q, %t", status.Phase, status.Reason, again, test.phase, test.reason, test.again)
			}
		})
	}
}

func TestPulls(t *testing.T) {
	type attempt struct {
		image string
		end   chan error
	}
	attempts := make(chan attempt)
	p := newPulls(func(ctx context.Context, image string) error {
		a := attempt{image, make(chan error)}
		select {
		case attempts <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-a.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, quiet)
	ended := make(chan struct{}, 10)
	done := func() { ended <- struct{}{} }
	// Two that want the same share one pull, and both are told.
	p.ensure("a", done)
	if failure, _ := p.ensure("a", done); failure != "" {
		t.Errorf("a pull that goes on says %s", failure)
	}
	a := <-attempts
	a.end <- errors.New("no such image")
	<-ended
	<-ended
	if failure, retry := p.ensure("a", done); failure == "" || retry <= 0 || retry > pullRetryFirst {
		t.Errorf("after a failure: %q, again in %s, want it with a wait of up to %s", failure, retry, pullRetryFirst)
	}
	// A pull that nobody wants any more ends, and its slot is free.
	for _, image := range []string{"b", "c", "d"} {
		p.ensure(image, done)
		<-attempts
	}
	p.ensure("e", done)
	p.keep(map[string]bool{"e": true})
	e := <-attempts
	if e.image != "e" {
		t.Errorf("pulls %s, want e", e.image)
	}
	e.end <- nil
	for range 4 {
		<-ended
	}
	p.ensure("f", done)
	<-attempts
	p.stop()
	<-ended
}

func TestTolerance(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "tolerated.json"), []byte("null"), 0o600); err != nil {
		t.Fatal(err)
	}
	tol := loadTolerance(folder, quiet)
	a, b := protocol.Difference{Field: "a", Desired: "1", Live: "2"}, protocol.Difference{Field: "b", Desired: "1", Live: "2"}
	tol.add("one", []protocol.Difference{a})
	tol.add("two", []protocol.Difference{b})
	again := loadTolerance(folder, quiet)
	if got := again.without("one", []protocol.Difference{a, b}); !slices.Equal(got, []protocol.Difference{b}) {
		t.Errorf("left %v, want %v", got, b)
	}
	again.retain(map[string]bool{"two": true})
	if got := loadTolerance(folder, quiet).known; len(got) != 1 || got["two"] == nil {
		t.Errorf("kept %v, want two alone", got)
	}
	if err := os.WriteFile(filepath.Join(folder, "tolerated.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := loadTolerance(folder, quiet).known; len(got) != 0 {
		t.Errorf("a corrupt file gave %v", got)
	}
}
