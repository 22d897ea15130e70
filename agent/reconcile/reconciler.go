package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/util/workqueue"

	"github.com/seatrial/seatrial/agent/desired"
	"github.com/seatrial/seatrial/agent/drift"
	"github.com/seatrial/seatrial/agent/engine"
	"github.com/seatrial/seatrial/agent/health"
	"github.com/seatrial/seatrial/agent/update"
	"github.com/seatrial/seatrial/protocol"
)

// Engine is what a reconciler needs of podman.
type Engine interface {
	List(ctx context.Context) ([]engine.Summary, error)
	Inspect(ctx context.Context, name string) (*engine.Container, error)
	Image(ctx context.Context, reference string) (*drift.Image, error)
	Pull(ctx context.Context, reference string) error
	Create(ctx context.Context, name string, want *drift.Desired, replaced *protocol.Replacement) (string, error)
	Start(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Stop(ctx context.Context, id string) error
	Rename(ctx context.Context, id, name string) error
	Remove(ctx context.Context, id string) error
	Restart(ctx context.Context, id string) error
	Exec(ctx context.Context, id string, command []string) (int, error)
	Logs(ctx context.Context, id string, tail int, follow bool, line func(stream, text string) error) error
	Events(ctx context.Context, happened func(engine.Event)) error
}

// Settings are how a [Reconciler] works.
type Settings struct {
	Device  protocol.DeviceID
	Network drift.Network
	// Compare is how often everything is compared although nothing happened.
	Compare time.Duration
	// StateDir is the folder for what has to be remembered.
	StateDir string
	// Steady is how long a container must run to count as working where no health
	// check says so; 0 is [DefaultSteady].
	Steady time.Duration
	// Pull pulls an image; nil has podman do it.
	Pull func(ctx context.Context, reference string) error
	// Dial connects to containers for health checks; nil connects from where the
	// agent runs.
	Dial health.Dial
	// Data keeps what containers have besides their images; nil if none has any.
	Data Data
	// Changed is called when the status has changed. It must not block.
	Changed func()
}

// DefaultSteady is how long a container must run to count as working.
const DefaultSteady = 10 * time.Second

// How work is bounded.
const (
	// workers is how many containers are worked on at once: podman itself does
	// little in parallel.
	workers = 4
	// itemTimeout bounds the work on one container, in which it may have to be
	// stopped, which takes up to engine.Grace, and made anew.
	itemTimeout = 2 * time.Minute
	// What fails is tried again after retryFirst, twice that, and so on, but
	// never more seldom than retryLast.
	retryFirst = 500 * time.Millisecond
	retryLast  = 2 * time.Minute
	// settle is how long events of one container are gathered.
	settle = 50 * time.Millisecond
	// eventsAfter is the wait before podman's events are followed again.
	eventsAfter = 5 * time.Second
)

// Keys of work that is about no single container; no container has such a name.
const (
	keySurvey = "/survey"
	keyRetain = "/retain"
	keyAlive  = "/alive"
)

// Reconciler makes podman run a device's desired state.
type Reconciler struct {
	settings  Settings
	engine    Engine
	data      Data
	log       *slog.Logger
	queue     workqueue.TypedRateLimitingInterface[string]
	pulls     *pulls
	tolerated *tolerance
	updates   *update.Memory
	monitor   *health.Monitor
	pace      *pace

	mu sync.Mutex
	// known is set once there is a desired state: before, nothing is touched.
	known     bool
	revision  uint64
	rejection *desired.Rejection
	order     []string
	wanted    map[string]*drift.Desired
	statuses  map[string]protocol.ContainerStatus
	// leftovers are wanted containers whose replacement was cut short, asides those
	// that have another put aside.
	leftovers, asides map[string]bool
	// exits are how containers last ended, by id; digests those of images, by id.
	exits   map[string]protocol.Exit
	digests map[string]string
	// ill are the containers that were not healthy, by id.
	ill map[string]bool
	// stints are since when containers were seen to run, by id.
	stints map[string]stint
	// waiters are told when work that began after they came has ended.
	waiters map[string][]chan<- struct{}
	// acts numbers what was done to containers, by name.
	acts   map[string]uint64
	serial uint64
}

// New returns a reconciler; [Reconciler.Run] makes it work.
func New(settings Settings, podman Engine, log *slog.Logger) *Reconciler {
	if settings.Steady == 0 {
		settings.Steady = DefaultSteady
	}
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryFirst, retryLast)
	r := &Reconciler{
		settings:  settings,
		engine:    podman,
		data:      settings.Data,
		log:       log,
		queue:     workqueue.NewTypedRateLimitingQueue(limiter),
		tolerated: loadTolerance(settings.StateDir, log),
		wanted:    make(map[string]*drift.Desired),
		statuses:  make(map[string]protocol.ContainerStatus),
		updates:   update.Load(settings.StateDir, log),
		pace:      newPace(),
		leftovers: make(map[string]bool),
		asides:    make(map[string]bool),
		exits:     make(map[string]protocol.Exit),
		digests:   make(map[string]string),
		ill:       make(map[string]bool),
		stints:    make(map[string]stint),
		waiters:   make(map[string][]chan<- struct{}),
		acts:      make(map[string]uint64),
	}
	if r.data == nil {
		r.data = noData{}
	}
	if settings.Pull == nil {
		settings.Pull = podman.Pull
	}
	r.pulls = newPulls(settings.Pull, log)
	r.monitor = health.NewMonitor(health.NewProber(prober{podman}, settings.Dial).Probe, func(name string) { r.queue.Add(name) })
	return r
}

// Run works until ctx ends. Containers go on running.
func (r *Reconciler) Run(ctx context.Context) {
	var group errgroup.Group
	for range workers {
		group.Go(func() error { r.work(ctx); return nil })
	}
	group.Go(func() error { r.follow(ctx); return nil })
	group.Go(func() error { r.tick(ctx); return nil })
	<-ctx.Done()
	r.queue.ShutDown()
	_ = group.Wait()
	r.pulls.stop()
	r.monitor.Stop()
}

// tick compares everything every now and then.
func (r *Reconciler) tick(ctx context.Context) {
	ticker := time.NewTicker(r.settings.Compare)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.queue.Add(keySurvey)
		}
	}
}

// follow looks at a container whenever podman says that something happened to it.
func (r *Reconciler) follow(ctx context.Context) {
	for ctx.Err() == nil {
		// What happened while nobody listened.
		r.queue.Add(keySurvey)
		err := r.engine.Events(ctx, r.happened)
		if ctx.Err() == nil {
			r.log.DebugContext(ctx, "podman's events ended, following them again", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(eventsAfter):
		}
	}
}

// happened takes one of podman's events.
func (r *Reconciler) happened(event engine.Event) {
	if event.Container == "" {
		// An image, perhaps under a name that is wanted, or a container that has
		// another name now.
		r.queue.AddAfter(keySurvey, settle)
		return
	}
	if r.want(event.Container) == nil {
		return
	}
	if event.Died {
		r.mu.Lock()
		r.exits[event.ID] = protocol.Exit{Code: event.ExitCode, Time: event.Time.UTC()}
		r.mu.Unlock()
	}
	r.queue.AddAfter(event.Container, settle)
}

// Accept implements the follower's sink: state is what the device should run from
// now on.
func (r *Reconciler) Accept(state *desired.State) {
	r.mu.Lock()
	before, previous := r.wanted, r.statuses
	r.known, r.revision, r.rejection = true, state.Revision, nil
	r.wanted, r.statuses, r.order = make(map[string]*drift.Desired), make(map[string]protocol.ContainerStatus), nil
	images := make(map[string]bool)
	var changed []string
	for _, c := range state.Document.Containers {
		want := &drift.Desired{Device: r.settings.Device, Network: r.settings.Network, Container: c}
		r.wanted[c.Name] = want
		r.order = append(r.order, c.Name)
		images[c.Image] = true
		if status, found := previous[c.Name]; found && reflect.DeepEqual(before[c.Name], want) {
			r.statuses[c.Name] = status
			continue
		}
		r.statuses[c.Name] = pending(want, ReasonAccepted, "")
		changed = append(changed, c.Name)
	}
	r.mu.Unlock()
	r.pulls.keep(images)
	r.updates.Retain(func(name string) bool { return r.want(name) != nil })
	for _, name := range changed {
		r.pace.forget(name)
		r.queue.Forget(name)
		r.queue.Add(name)
	}
	for name := range before {
		if r.want(name) == nil {
			r.queue.Forget(name)
			r.queue.Add(name)
		}
	}
	r.queue.Add(keySurvey)
	r.settings.Changed()
}

// Reject implements the follower's sink: the device goes on as it is.
func (r *Reconciler) Reject(rejection *desired.Rejection) {
	r.mu.Lock()
	r.rejection = rejection
	r.mu.Unlock()
	r.settings.Changed()
}

// Needs are the images that are desired, by their references, and those that a way
// back may need, by their ids. Known is false before there is a desired state.
func (r *Reconciler) Needs() (known bool, references, ids []string) {
	r.mu.Lock()
	known = r.known
	for _, name := range r.order {
		references = append(references, r.wanted[name].Container.Image)
	}
	r.mu.Unlock()
	// What is remembered asks in its turn what is wanted: never both at once.
	return known, references, r.updates.Images()
}

// want is what a container should be; nil if it should not be there.
func (r *Reconciler) want(name string) *drift.Desired {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wanted[name]
}

// work takes one piece of work after the other.
func (r *Reconciler) work(ctx context.Context) {
	for {
		key, shutdown := r.queue.Get()
		if shutdown {
			return
		}
		// A worker has come round, whatever waits before that question.
		tell(r.waiting(keyAlive))
		waiters := r.waiting(key)
		r.item(ctx, key)
		r.queue.Done(key)
		tell(waiters)
	}
}

// waiting are those who wait for work that begins now.
func (r *Reconciler) waiting(key string) []chan<- struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiters := r.waiters[key]
	delete(r.waiters, key)
	return waiters
}

func tell(waiters []chan<- struct{}) {
	for _, waiter := range waiters {
		close(waiter)
	}
}

// item does one piece of work and sees to its next time.
func (r *Reconciler) item(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	var again time.Duration
	var err error
	switch key {
	case keyAlive:
	case keyRetain:
		r.retain(ctx)
	case keySurvey:
		var names []string
		if names, err = r.survey(ctx); err == nil {
			for _, name := range names {
				r.queue.Add(name)
			}
			r.queue.Add(keyRetain)
			r.updates.Keep()
		}
	default:
		again, err = r.container(ctx, key)
	}
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		r.log.WarnContext(ctx, "will try again", "work", key, "failures", r.queue.NumRequeues(key)+1, "error", err)
		r.queue.AddRateLimited(key)
	case again > 0:
		r.queue.AddAfter(key, again)
	default:
		r.queue.Forget(key)
	}
}
