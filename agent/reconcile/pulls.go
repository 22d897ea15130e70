package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// How pulls are bounded.
const (
	// pullTimeout bounds one pull: a registry that answers gives a large image on
	// a slow line in less.
	pullTimeout = 10 * time.Minute
	// pullsAtOnce keeps a slow line from being shared by too many.
	pullsAtOnce    = 3
	pullRetryFirst = 2 * time.Second
	pullRetryLast  = 2 * time.Minute
)

// pulls are the pulls of images. They take no worker's time.
type pulls struct {
	pull  func(ctx context.Context, image string) error
	log   *slog.Logger
	slots *semaphore.Weighted
	all   sync.WaitGroup

	mu      sync.Mutex
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
	return &pulls{pull: do, log: log, slots: semaphore.NewWeighted(pullsAtOnce), images: make(map[string]*pull)}
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

func (p *pulls) run(ctx context.Context, image string, state *pull) {
	defer state.cancel()
	err := p.slots.Acquire(ctx, 1)
	if err == nil {
		p.log.InfoContext(ctx, "pulling an image", "image", image)
		err = p.pull(ctx, image)
		p.slots.Release(1)
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
