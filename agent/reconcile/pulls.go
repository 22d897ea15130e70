package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// How pulls are bounded.
const (
	// pullTimeout bounds one pull: a registry that answers gives a large image on
	// a slow line in less.
	pullTimeout = 10 * time.Minute
	// pullsAtOnce keeps a slow line from being shared by too many. It is for each
	// registry: one that hangs does not hold up the others.
	pullsAtOnce = 3
	// slotTime is how long a pull keeps the others of its registry waiting. It goes
	// on without its slot.
	slotTime       = 30 * time.Second
	pullRetryFirst = 2 * time.Second
	pullRetryLast  = 2 * time.Minute
)

// pulls are the pulls of images. They take no worker's time.
type pulls struct {
	pull func(ctx context.Context, image string) error
	log  *slog.Logger
	all  sync.WaitGroup

	mu sync.Mutex
	// slots are by registry.
	slots   map[string]*semaphore.Weighted
	stopped bool
	images  map[string]*pull
}

// pull is the pulling of one image, until it succeeds.
type pull struct {
	cancel context.CancelFunc
	// running is false between a failure and the next attempt.
	running  bool
	failures int
	// failure says why the last attempt failed.
	failure string
	retryAt time.Time
	done    []func()
}

func newPulls(do func(ctx context.Context, image string) error, log *slog.Logger) *pulls {
	return &pulls{pull: do, log: log, slots: make(map[string]*semaphore.Weighted), images: make(map[string]*pull)}
}

// ensure has the image pulled, and done called when that has ended. If the last
// attempt failed, it says why, and when there will be another: 0 if there is one
// already.
func (p *pulls) ensure(image string, done func()) (failure string, retry time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.images[image]
	if state == nil {
		state = new(pull)
		p.images[image] = state
	}
	if wait := time.Until(state.retryAt); !state.running && state.failure != "" && wait > 0 {
		return state.failure, wait
	}
	state.done = append(state.done, done)
	if !state.running && !p.stopped {
		ctx, cancel := context.WithTimeout(context.Background(), pullTimeout)
		state.running, state.cancel = true, cancel
		p.all.Go(func() { p.run(ctx, image, state) })
	}
	// Another attempt does not hide that the last one failed.
	return state.failure, 0
}

// slotsOf are those of the image's registry.
func (p *pulls) slotsOf(image string) *semaphore.Weighted {
	registry, _, _ := strings.Cut(image, "/")
	p.mu.Lock()
	defer p.mu.Unlock()
	slots := p.slots[registry]
	if slots == nil {
		slots = semaphore.NewWeighted(pullsAtOnce)
		p.slots[registry] = slots
	}
	return slots
}

func (p *pulls) run(ctx context.Context, image string, state *pull) {
	defer state.cancel()
	slots := p.slotsOf(image)
	err := slots.Acquire(ctx, 1)
	if err == nil {
		release := sync.OnceFunc(func() { slots.Release(1) })
		slow := time.AfterFunc(slotTime, release)
		p.log.InfoContext(ctx, "pulling an image", "image", image)
		err = p.pull(ctx, image)
		slow.Stop()
		release()
	}
	p.mu.Lock()
	done := state.done
	state.done, state.running = nil, false
	if err != nil {
		state.failure = err.Error()
		state.retryAt = time.Now().Add(min(pullRetryFirst<<min(state.failures, 16), pullRetryLast))
		state.failures++
	} else if p.images[image] == state {
		// Gone from here, so that it is pulled anew if it vanishes.
		delete(p.images, image)
	}
	failures := state.failures
	p.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) {
		p.log.WarnContext(ctx, "could not pull an image", "image", image, "failures", failures, "error", err)
	}
	for _, call := range done {
		call()
	}
}

// again has the next attempt at an image not wait for its time.
func (p *pulls) again(image string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state := p.images[image]; state != nil {
		state.retryAt, state.failures = time.Time{}, 0
	}
}

// keep ends the pulls of all other images.
func (p *pulls) keep(images map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for image, state := range p.images {
		if images[image] {
			continue
		}
		if state.running {
			state.cancel()
		}
		delete(p.images, image)
	}
}

// stop ends all pulls and waits until they have ended.
func (p *pulls) stop() {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	p.keep(nil)
	p.all.Wait()
}
