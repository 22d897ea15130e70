package reconcile

import (
	"context"
	"errors"
	"flag"
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
	"github.com/seatrial/seatrial/protocol"
)

// TestMain leaves it at few checks of properties, unless more are asked for: each
// makes and removes real containers.
func TestMain(m *testing.M) {
	if told := os.Getenv(lifeVariable); told != "" {
		if err := live(told); err != nil {
			panic(err)
		}
		return
	}
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// deadline bounds every wait; none expects to reach it.
const deadline = 2 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

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
	want := []protocol.Difference{{Field: "env.LEVEL", Desired: "(a value)", Live: "(not set)"}}
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

// A podman that hangs has more work wait than there are workers. The agent is alive as
// soon as one of them comes round, not when all that waits was done.
func TestAliveWaitsForOneWorkerAlone(t *testing.T) {
	p := newPodman()
	p.hang, p.hung, p.let = make(map[string]bool), make(chan struct{}, 100), make(chan error)
	var all []protocol.Container
	for i := range 3 * workers {
		c := web()
		c.Name = fmt.Sprintf("c-%d", i)
		p.hang[c.Name] = true
		all = append(all, c)
	}
	r, stop := start(t, p, t.TempDir())
	r.Accept(state(1, all...))
	for range workers {
		<-p.hung
	}
	alive := r.kick(keyAlive)
	select {
	case <-alive:
		t.Error("it is alive although all workers hang")
	default:
	}
	p.let <- errors.New("no answer")
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := await(ctx, alive); err != nil {
		t.Errorf("not alive: %v", err)
	}
	stop()
}

// While podman is slow to say what there is, what is wanted changes: only that is done.
func TestOnlyWhatIsWantedAtLastIsDone(t *testing.T) {
	for name, row := range map[string]struct {
		meanwhile *desired.State
		created   []string
	}{
		"of two updates the second":    {state(2, web(protocol.EnvVar{Name: "A", Value: "2"})), []string{"web", "web.next"}},
		"of a removal and coming back": {state(2), []string{"web"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPodman()
			p.hang, p.hung, p.let = make(map[string]bool), make(chan struct{}, 100), make(chan error)
			r, _ := start(t, p, t.TempDir())
			r.Accept(state(1, web()))
			reconcile(t, r)
			p.hangs("web", true)
			r.Accept(row.meanwhile)
			<-p.hung
			p.hangs("web", false)
			last := web()
			if len(row.meanwhile.Document.Containers) > 0 {
				last = web(protocol.EnvVar{Name: "A", Value: "3"})
			}
			r.Accept(state(3, last))
			p.let <- nil
			reconcile(t, r)
			p.mu.Lock()
			defer p.mu.Unlock()
			if !slices.Equal(p.created, row.created) {
				t.Errorf("it made %v, want %v", p.created, row.created)
			}
		})
	}
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

// A container goes on running until its successor can be made, but not beyond the
// deployment that it was made for.
func TestContainerDoesNotOutliveItsDeployment(t *testing.T) {
	const absent, useless = "localhost/absent:1", "localhost/useless:1"
	for name, row := range map[string]struct {
		image, uid string
		stays      bool
	}{
		"its own, without an image":        {absent, "u", true},
		"its own, that cannot be made":     {useless, "u", true},
		"another's, without an image":      {absent, "other", false},
		"another's, that cannot be made":   {useless, "other", false},
		"another's, that can be made":      {"localhost/web:1", "other", true},
		"another's, whose image is at sea": {"registry.example.org/web:1", "other", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPodman()
			p.missing = map[string]bool{absent: true, "registry.example.org/web:1": true}
			p.refused = map[string]bool{useless: true}
			r, _ := start(t, p, t.TempDir())
			r.Accept(state(1, web()))
			reconcile(t, r)
			next := web()
			next.Image, next.Deployment.UID = row.image, row.uid
			r.Accept(state(2, next))
			reconcile(t, r)
			if stays := slices.Equal(p.names(), []string{"web"}); stays != row.stays {
				t.Errorf("containers %v, want web to be there: %t", p.names(), row.stays)
			}
			if status := r.Status().Containers[0]; (status.ContainerID != "") != row.stays {
				t.Errorf("status %+v", status)
			}
		})
	}
}
