package bucket

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/seatrial/seatrial/protocol"
)

// Value is the value of one key.
type Value struct {
	ID       protocol.DeviceID
	Revision uint64
	// Data is nil if the key was deleted.
	Data []byte
}

// Follower is told what the buckets hold. Calls for one bucket do not overlap.
type Follower interface {
	// Snapshot is called with all values of the bucket when following begins, and
	// anew after each outage. What was known before and is not among them is gone.
	Snapshot(protocol.Bucket, []Value)
	// Changed is called for every later change, in order.
	Changed(protocol.Bucket, Value)
}

var (
	errRenewed  = errors.New("the connection to the broker was renewed")
	errNotYet   = errors.New("the broker has not been reached yet")
	errReplaced = errors.New("a bucket was removed or made anew")
)

// Follow tells f what is in every bucket until ctx ends. Whenever the broker was
// away it ensures the buckets and begins anew, since a broker may come back with
// less than it had. Meanwhile [Store.Problem] says what is wrong.
func (s *Store) Follow(ctx context.Context, f Follower) {
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 5 * time.Second}
	next := backoff
	for {
		began := time.Now()
		err := s.session(ctx, f)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRenewed) {
			next = backoff
			continue
		}
		if time.Since(began) > backoff.Cap {
			next = backoff
		}
		delay := next.Step()
		s.problem.Store(&err)
		slog.WarnContext(ctx, "The buckets cannot be followed; beginning anew.", "error", err, "in", delay)
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// session follows all buckets from when the broker is connected until the
// connection was renewed.
func (s *Store) session(ctx context.Context, f Follower) error {
	// One status on a channel of its own: a second event that finds the first
	// still unread takes it away and is lost itself.
	connected := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(connected)
	if !s.nc.IsConnected() {
		select {
		case <-connected:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-connected:
			return errRenewed
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	group.Go(func() error {
		ensure, done := context.WithTimeout(ctx, 10*time.Second)
		defer done()
		if err := s.Ensure(ensure); err != nil {
			return err
		}
		// Before the first is told anything: who was, finds no problem.
		var none error
		s.problem.Store(&none)
		for _, b := range protocol.Buckets() {
			group.Go(func() error { return s.watch(ctx, b, f) })
		}
		group.Go(func() error { return s.guard(ctx) })
		return nil
	})
	return group.Wait()
}

// guardInterval is how often it is checked that the buckets are still those
// that are followed. Only a removal by hand needs it: the loss of a broker's disk
// comes with a new connection.
const guardInterval = 15 * time.Second

// guard returns when a bucket is no longer the one that it was.
func (s *Store) guard(ctx context.Context) error {
	born := make(map[protocol.Bucket]time.Time)
	tick := time.NewTicker(guardInterval)
	defer tick.Stop()
	for {
		for _, b := range protocol.Buckets() {
			stream, err := s.js.Stream(ctx, b.Stream())
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				return fmt.Errorf("bucket %s: %w", b, errReplaced)
			}
			if err != nil {
				continue // The broker's absence is noticed elsewhere.
			}
			created := stream.CachedInfo().Created
			if before, ok := born[b]; ok && !before.Equal(created) {
				return fmt.Errorf("bucket %s: %w", b, errReplaced)
			}
			born[b] = created
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (s *Store) watch(ctx context.Context, b protocol.Bucket, f Follower) error {
	kv, err := s.js.KeyValue(ctx, string(b))
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b, err)
	}
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	over := sync.OnceFunc(func() { s.turn.Release(1) })
	defer over()
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", b, err)
	}
	defer func() {
		_ = watcher.Stop()
		// The client may be about to tell more: it blocks until that is taken.
		go func() {
			for range watcher.Updates() {
			}
		}()
	}()
	var snapshot []Value
	complete := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return fmt.Errorf("the watch on bucket %s ended", b)
			case entry == nil:
				f.Snapshot(b, snapshot)
				snapshot, complete = nil, true
				over()
			default:
				v, err := value(entry)
				if err != nil {
					slog.WarnContext(ctx, "A key is not a device's id; it is ignored.", "bucket", b, "error", err)
					continue
				}
				if !complete {
					snapshot = append(snapshot, v)
					continue
				}
				f.Changed(b, v)
			}
		}
	}
}

func value(entry jetstream.KeyValueEntry) (Value, error) {
	id, err := protocol.ParseDeviceID(entry.Key())
	if err != nil {
		return Value{}, err
	}
	v := Value{ID: id, Revision: entry.Revision()}
	if entry.Operation() == jetstream.KeyValuePut {
		v.Data = entry.Value()
		if v.Data == nil {
			v.Data = []byte{}
		}
	}
	return v, nil
}
