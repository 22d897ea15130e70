package desired

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/protocol"
)

// Requester asks the broker.
type Requester interface {
	Request(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

// Sink takes what the follower finds. Its methods must not block.
type Sink interface {
	// Accept takes a new state.
	Accept(state *State)
	// Reject is told of a state that cannot be taken.
	Reject(rejection *Rejection)
}

// Follower follows a device's desired state.
type Follower struct {
	device protocol.DeviceID
	broker Requester
	store  *Store
	sink   Sink
	resync time.Duration
	log    *slog.Logger
	ring   chan struct{}
	// rung is the revision that rang last.
	rung atomic.Uint64

	// strangers limits what forged rings can have the log say.
	strangers rate.Sometimes

	// current is what was accepted last.
	current atomic.Pointer[State]
	// reading is held while the state is read. It guards rejected, the revision
	// that was refused after the current one, and unkept, whether the current one
	// is not on disk.
	reading  sync.Mutex
	rejected uint64
	unkept   bool
}

// NewFollower returns a follower that reads every resync although nothing rings.
func NewFollower(device protocol.DeviceID, broker Requester, store *Store, sink Sink, resync time.Duration, log *slog.Logger) *Follower {
	return &Follower{
		device: device, broker: broker, store: store, sink: sink, resync: resync, log: log,
		ring: make(chan struct{}, 1), strangers: rate.Sometimes{Interval: time.Minute},
	}
}

// Waits for the broker. A read was seen to take less than a millisecond.
const (
	readTimeout = 5 * time.Second
	retryAfter  = 500 * time.Millisecond
	retryMost   = 15 * time.Second
	// lagInterval is the time between two attempts to read what must be there, of
	// which there are so many: in a cluster the server that answers may not have yet
	// what another one has rung for, or has given before.
	lagInterval = 50 * time.Millisecond
	lagAttempts = 20
)

// Doorbell handles a message on the device's doorbell. A ring counts only if a
// write to the device's own key made it.
func (f *Follower) Doorbell(msg *nats.Msg) {
	if subject := protocol.StoredSubject(msg.Header); !protocol.IsOwnDoorbell(f.device, subject) {
		f.strangers.Do(func() {
			f.log.Warn("ignored a ring at the door that no write to the own key made", "subject", cut(subject))
		})
		return
	}
	f.rung.Store(revisionOf(msg))
	f.Ring()
}

// Ring has the state read soon. Rings that come while one waits are one.
func (f *Follower) Ring() {
	select {
	case f.ring <- struct{}{}:
	default:
	}
}

// Restore accepts the state that is kept on disk, if there is one.
func (f *Follower) Restore(ctx context.Context) {
	state, err := f.store.Load()
	switch {
	case err != nil:
		f.log.ErrorContext(ctx, "starting without a kept desired state", "error", err)
	case state != nil:
		f.log.InfoContext(ctx, "following the kept desired state", "revision", state.Revision)
		f.current.Store(state)
		f.sink.Accept(state)
	}
}

// Run reads whenever it is rung for, and every resync, until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	tick := time.NewTicker(f.resync)
	defer tick.Stop()
	// A nil channel until there is something to retry.
	var retry <-chan time.Time
	wait := retryAfter
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.ring:
		case <-tick.C:
		case <-retry:
		}
		retry = nil
		if err := f.Read(ctx); err != nil && ctx.Err() == nil {
			f.log.DebugContext(ctx, "could not read the desired state, trying again", "error", err)
			retry = time.After(wait)
			wait = min(2*wait, retryMost)
			continue
		}
		wait = retryAfter
	}
}

// Read reads the state now. That nobody has decided, or that the document is
// refused, is no error of the reading: nothing changes then.
func (f *Follower) Read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	f.reading.Lock()
	defer f.reading.Unlock()
	state, err := f.newest(ctx)
	var rejection *Rejection
	switch {
	case errors.As(err, &rejection):
		f.reject(ctx, rejection)
	case errors.Is(err, ErrUndecided):
		f.log.DebugContext(ctx, "leaving things as they are", "reason", err)
	case err != nil:
		return err
	default:
		if rejection := f.outdated(state); rejection != nil {
			f.reject(ctx, rejection)
		} else {
			f.accept(ctx, state)
		}
	}
	return nil
}

// newest reads the state until it is as new as the one that rang and the one that is
// followed. A broker that goes on to have an older one, as one that was brought back
// from a copy does, is believed in the end.
func (f *Follower) newest(ctx context.Context) (*State, error) {
	for attempt := 1; ; attempt++ {
		answer, err := f.broker.Request(ctx, protocol.BucketDesired.DirectGet(f.device), nil)
		if err != nil {
			return nil, err
		}
		state, err := read(f.device, answer)
		rung := f.rung.Load()
		switch behind := revisionOf(answer) < rung || state != nil && f.outdated(state) != nil; {
		case !behind || errors.Is(err, ErrAnswer):
			return state, err
		case attempt == lagAttempts:
			f.rung.CompareAndSwap(rung, 0)
			return state, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lagInterval):
		}
	}
}

// outdated returns why a state is refused whose revision is lower than that of the
// one that is followed; nil if it is not, or is marked as a rollback.
func (f *Follower) outdated(state *State) *Rejection {
	applied := f.Revision()
	if state.Revision >= applied || state.Document.RollbackFrom >= applied {
		return nil
	}
	return &Rejection{Revision: state.Revision, Err: fmt.Errorf("%w: revision %d was applied before, and it is not marked as a rollback from that", ErrOutdated, applied)}
}

func (f *Follower) accept(ctx context.Context, state *State) {
	// A broker that lost its memory counts from 1 again, and may have come to the
	// same revision, so the revision alone does not tell.
	if current := f.current.Load(); f.rejected == 0 && reflect.DeepEqual(current, state) {
		if f.unkept {
			f.keep(ctx, state)
		}
		return
	}
	f.log.InfoContext(ctx, "following a new desired state", "revision", state.Revision, "containers", len(state.Document.Containers))
	// Heartbeats and answers name it once it is on disk: an agent that starts again
	// must not follow an older one than it has said. Without its copy there the state
	// is still the one to follow.
	f.keep(ctx, state)
	f.current.Store(state)
	f.rejected = 0
	f.sink.Accept(state)
}

// keep puts a state on disk. What a full disk does not take, it is given again with
// each read.
func (f *Follower) keep(ctx context.Context, state *State) {
	err := f.store.Save(state)
	if f.unkept = err != nil; f.unkept {
		f.log.ErrorContext(ctx, "the next start may bring back an older desired state", "error", err)
	}
}

func (f *Follower) reject(ctx context.Context, rejection *Rejection) {
	if f.rejected == rejection.Revision {
		return
	}
	f.log.ErrorContext(ctx, "running what ran before", "error", rejection)
	f.rejected = rejection.Revision
	f.sink.Reject(rejection)
}

// Revision is that of the state that is followed, 0 if there is none.
func (f *Follower) Revision() uint64 {
	if current := f.current.Load(); current != nil {
		return current.Revision
	}
	return 0
}

// cut makes outside text fit for a log.
func cut(s string) string { return s[:min(len(s), 100)] }
