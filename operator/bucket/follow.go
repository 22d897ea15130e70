package bucket

import (
	"context"
	"fmt"
	"log/slog"
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
	// Changed is called for every value there is, and for every change.
	Changed(protocol.Bucket, Value)
	// Complete is called when every value of the bucket was told, with the keys
	// that it has: those known before and not among them are gone.
	Complete(protocol.Bucket, map[protocol.DeviceID]bool)
}

// Follow tells f of every value in every bucket until ctx ends. After each
// outage of the broker it ensures the buckets and begins anew, since a broker may
// come back with less than it had.
func (s *Store) Follow(ctx context.Context, f Follower) {
	backoff := wait.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 6, Cap: 5 * time.Second}
	next := backoff
	for ctx.Err() == nil {
		began := time.Now()
		err := s.session(ctx, f)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > backoff.Cap {
			next = backoff
		}
		delay := next.Step()
		slog.WarnContext(ctx, "The buckets cannot be followed; beginning anew.", "error", err, "in", delay)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// session follows all buckets until the connection changes.
func (s *Store) session(ctx context.Context, f Follower) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	changes := s.nc.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer s.nc.RemoveStatusListener(changes)
	go func() {
		select {
		case status, ok := <-changes:
			if ok {
				cancel(fmt.Errorf("the connection to the broker is %s", status))
			}
		case <-ctx.Done():
		}
	}()
	ensure, done := context.WithTimeout(ctx, 10*time.Second)
	defer done()
	if err := s.Ensure(ensure); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range protocol.Buckets() {
		group.Go(func() error { return s.watch(ctx, b, f) })
	}
	return group.Wait()
}

func (s *Store) watch(ctx context.Context, b protocol.Bucket, f Follower) error {
	kv, err := s.js.KeyValue(ctx, string(b))
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b, err)
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", b, err)
	}
	defer func() { _ = watcher.Stop() }()
	present := make(map[protocol.DeviceID]bool)
	complete := false
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case entry, ok := <-watcher.Updates():
			switch {
			case !ok:
				return fmt.Errorf("the watch on bucket %s ended", b)
			case entry == nil:
				f.Complete(b, present)
				present, complete = nil, true
			default:
				id, err := protocol.ParseDeviceID(entry.Key())
				if err != nil {
					slog.WarnContext(ctx, "A key is not a device's id; it is ignored.", "bucket", b, "error", err)
					continue
				}
				if !complete {
					present[id] = true
				}
				f.Changed(b, value(id, entry))
			}
		}
	}
}

func value(id protocol.DeviceID, entry jetstream.KeyValueEntry) Value {
	v := Value{ID: id, Revision: entry.Revision()}
	if entry.Operation() == jetstream.KeyValuePut {
		v.Data = entry.Value()
		if v.Data == nil {
			v.Data = []byte{}
		}
	}
	return v
}
