package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/internal/podmantest"
	"github.com/seatrial/seatrial/protocol"
)

// What is done to a container by hand is seen by podman's events, and put right: no
// compare is due within these tests.
func TestHealsWhatIsDoneByHand(t *testing.T) {
	podman := podmantest.Start(t)
	d := newDevice(t, podman)
	d.steady = soon
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	r, _, _ := d.agent(subject())
	before := d.await(r, protocol.ContainerRunning)

	podman.Exec(t, "kill", "web")
	d.eventually("it runs again", func() error {
		status := r.Status().Containers[0]
		switch exit := status.LastExit; {
		case status.Phase != protocol.ContainerRunning || status.Restarts != 1 || exit == nil || exit.Code != 137 || exit.Time.IsZero():
			return fmt.Errorf("it is %+v, ended with %+v", status, exit)
		case status.ContainerID != before.ContainerID:
			t.Fatalf("it was made anew: %+v", status)
		}
		return nil
	})

	podman.Exec(t, "rename", "web", "elsewhere")
	d.eventually("its name is back", func() error {
		list, err := d.engine.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "web" {
			return fmt.Errorf("containers are %+v, %w", list, err)
		}
		return nil
	})
	renamed := d.await(r, protocol.ContainerRunning)

	// The same tag on another image.
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}, Labels: map[string]string{"other": "1"}})
	d.eventually("it is made of the other image", func() error {
		status := r.Status().Containers[0]
		if status.ImageID == renamed.ImageID || status.Phase != protocol.ContainerRunning || status.ImageDigest == renamed.ImageDigest {
			return fmt.Errorf("it is %+v", status)
		}
		return nil
	})
	moved := d.await(r, protocol.ContainerRunning)
	if moved.Replaced == nil || !slices.Equal(fieldsOf(moved.Replaced.Drift), []string{"image"}) {
		t.Errorf("it was replaced because of %+v, want the image", moved.Replaced)
	}
	if !strings.HasPrefix(moved.ImageDigest, "sha256:") {
		t.Errorf("its digest is %q", moved.ImageDigest)
	}
}

// A power cut may leave podman with the name of a container alone, which then can
// neither be looked at nor started.
func TestMakesAnewWhatHasLostItsStorage(t *testing.T) {
	for name, losses := range map[string]map[string]string{
		"it is unknown to the storage": {"*-containers/*containers.json": "[]"},
		// Only what lies on another layer has the first of the two.
		"its layer's files are empty": {"overlay/*/lower": "", "overlay/*/link": ""},
	} {
		t.Run(name, func(t *testing.T) {
			podman := podmantest.Start(t)
			d := newDevice(t, podman)
			podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
			r, _, stop := d.agent(subject())
			before := d.await(r, protocol.ContainerRunning)
			stop()
			podman.PowerCut()
			lose(t, filepath.Join(podman.Folder, "storage"), losses)
			podman.PowerOn()
			if _, err := d.engine.Inspect(t.Context(), "web"); !errors.Is(err, engine.ErrNoStorage) {
				t.Fatalf("it is not lost: %v", err)
			}
			r, _, _ = d.agent(subject())
			if after := d.await(r, protocol.ContainerRunning); after.ContainerID == before.ContainerID {
				t.Errorf("it is said to be %+v still", after)
			}
		})
	}
}

// lose writes files of podman's storage anew. Those of the folder of an image's own layer
// are left as they are.
func lose(t *testing.T, storage string, losses map[string]string) {
	t.Helper()
	for pattern, content := range losses {
		files, err := filepath.Glob(filepath.Join(storage, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("podman keeps no %s: %v", pattern, err)
		}
		for _, file := range files {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), "lower")); err != nil && filepath.Base(file) == "link" {
				continue
			}
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestStartsAgainWhatIsNotHealthy(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	d := newDevice(t, podman)
	var sick atomic.Bool
	asked := make(chan string, 100)
	r := New(Settings{
		Device: "device-1", Network: "host", Compare: time.Hour, StateDir: d.folder, Changed: func() {},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			select {
			case asked <- address:
			default:
			}
			if sick.Load() {
				return nil, errors.New("nobody listens")
			}
			here, there := net.Pipe()
			there.Close()
			return here, nil
		},
	}, d.engine, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	r.Accept(state(1, subject(func(c *protocol.Container) {
		c.HealthCheck = &protocol.HealthCheck{TCP: &protocol.TCPCheck{Port: 8080}, IntervalSeconds: 1, TimeoutSeconds: 10, Retries: 2}
	})))
	before := d.await(r, protocol.ContainerRunning)
	if address := <-asked; address != "127.0.0.1:8080" {
		t.Errorf("it was looked for at %s", address)
	}
	life := func() time.Time {
		c, err := d.engine.Inspect(t.Context(), "web")
		if err != nil {
			t.Fatal(err)
		}
		return c.State.StartedAt
	}
	first := life()
	sick.Store(true)
	d.eventually("it is started again", func() error {
		if now := life(); now.Equal(first) {
			return fmt.Errorf("it runs since %s", now)
		}
		return nil
	})
	sick.Store(false)
	// The status tells of it after the engine.
	d.eventually("it is told", func() error {
		after := r.Status().Containers[0]
		if after.Phase != protocol.ContainerRunning || after.Restarts == 0 || after.ContainerID != before.ContainerID {
			return fmt.Errorf("it is %+v, was %+v", after, before)
		}
		return nil
	})
}

// probed counts the checks that are carried out.
type probed struct {
	*mortal
	checks atomic.Int64
}

func (p *probed) Exec(ctx context.Context, id string, command []string) (int, error) {
	status, err := p.mortal.Exec(ctx, id, command)
	p.checks.Add(1)
	return status, err
}

// That podman hangs is no container's fault: none is started again for it.
func TestHangingPodmanIsNobodysIllness(t *testing.T) {
	podman := podmantest.Start(t)
	podman.Load(t, workload, v1.Config{Entrypoint: []string{podmantest.Workload}})
	d := newDevice(t, podman)
	p := &probed{mortal: &mortal{Engine: d.engine}}
	r := New(Settings{Device: "device-1", Network: drift.Host, Compare: time.Hour, StateDir: d.folder, Changed: func() {}}, p, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	r.Accept(state(1, subject(func(c *protocol.Container) {
		c.HealthCheck = &protocol.HealthCheck{Command: []string{podmantest.Workload, "true"}, IntervalSeconds: 1, TimeoutSeconds: 3, Retries: 2}
	})))
	d.await(r, protocol.ContainerRunning)
	checked := func(times int64) {
		t.Helper()
		before := p.checks.Load()
		d.eventually("checks", func() error {
			if now := p.checks.Load(); now < before+times {
				return fmt.Errorf("%d checks since %d", now, before)
			}
			return nil
		})
	}
	made := len(p.made())
	thaw := podman.Freeze()
	checked(3)
	thaw()
	checked(3)
	if after := p.made(); len(after) != made {
		t.Errorf("it did %v", after[made:])
	}
	d.await(r, protocol.ContainerRunning)
}

// What has ended for good is not asked any more how it is. Another container's checks
// tell the time.
func TestChecksEndWithTheContainer(t *testing.T) {
	p, checks := newPodman(), make(chan string, 100)
	p.ran = func(id string) { checks <- id }
	r, _ := start(t, p, t.TempDir())
	checked := func(name string) protocol.Container {
		c := web()
		c.Name, c.RestartPolicy = name, protocol.RestartNever
		c.HealthCheck = &protocol.HealthCheck{Command: []string{"true"}, IntervalSeconds: 1, TimeoutSeconds: 10, Retries: 1}
		return c
	}
	p.shows = func(live *drift.Live) { live.RestartPolicy = "no" }
	r.Accept(state(1, checked("job"), checked("web")))
	reconcile(t, r)
	job, err := p.Inspect(t.Context(), "job")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	reconcile(t, r)
	if status := r.Status().Containers[0]; status.Phase != protocol.ContainerCompleted {
		t.Fatalf("it is %+v", status)
	}
	for len(checks) > 0 {
		<-checks
	}
	// One may have been under way.
	for jobs, others := 0, 0; others < 4; {
		if id := <-checks; id != job.ID {
			others++
		} else if jobs++; jobs > 1 {
			t.Fatal("it is still checked")
		}
	}
}

func TestPaceIsNeverForGood(t *testing.T) {
	p := newPace()
	now := time.Now()
	brief := engine.State{Status: "exited", StartedAt: now.Add(-time.Second), EndedAt: now}
	long := engine.State{Status: "exited", StartedAt: now.Add(-time.Hour), EndedAt: now}
	var waits []time.Duration
	for range 100 {
		waits = append(waits, p.wait("web", brief))
		p.began("web", brief)
	}
	for i, wait := range waits[1:] {
		if wait < waits[i] || wait > engineRestartsLast {
			t.Fatalf("waits are %v", waits)
		}
	}
	if waits[0] != engineRestarts || waits[99] != engineRestartsLast {
		t.Errorf("waits are from %s to %s", waits[0], waits[99])
	}
	if got := p.wait("other", brief); got != engineRestarts {
		t.Errorf("another waits %s, too", got)
	}
	if got := p.wait("web", long); got != engineRestarts {
		t.Errorf("after a long run it waits %s", got)
	}
	p.forget("web")
	if got := p.wait("web", brief); got != engineRestarts {
		t.Errorf("after somebody asked for it, it waits %s", got)
	}
}

func TestRounded(t *testing.T) {
	for n, want := range map[int32]int32{0: 0, 9: 9, 10: 10, 11: 10, 19: 10, 20: 20, 99: 90, 100: 100, 101: 100, 12345: 10000, 1<<31 - 1: 2e9} {
		if got := rounded(n); got != want {
			t.Errorf("%d is rounded to %d, want %d", n, got, want)
		}
	}
}

// A registry that hangs holds up none but its own images.
func TestStuckRegistryHoldsUpNoOther(t *testing.T) {
	began := make(chan string, 20)
	p := newPulls(func(ctx context.Context, image string) error {
		began <- image
		if strings.HasPrefix(image, "stuck/") {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}, quiet)
	defer p.stop()
	for i := range 10 {
		p.ensure(fmt.Sprintf("stuck/%d", i), func() {})
	}
	for range pullsAtOnce {
		<-began
	}
	done := make(chan struct{})
	p.ensure("good/1", func() { close(done) })
	select {
	case <-done:
	case <-time.After(deadline):
		t.Fatal("a good registry waits for one that hangs")
	}
}
