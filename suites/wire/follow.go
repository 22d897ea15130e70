package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

// Stored is one value of a bucket, as the broker keeps it.
type Stored struct {
	// Device is whose key it is, Revision what the bucket numbered it with.
	Device   protocol.DeviceID
	Revision uint64
	// Time is the broker's.
	Time time.Time
	// Data is what was written. Deleted says that the key was deleted instead.
	Data    []byte
	Deleted bool
}

// Watcher is told what happens in a bucket. Calls for one bucket do not overlap.
type Watcher interface {
	// Stored is called for every value that is seen, in order.
	Stored(bucket protocol.Bucket, value Stored)
	// Skipped is called for revisions that were not seen: another one of the same key
	// had followed by then.
	Skipped(bucket protocol.Bucket, first, last uint64)
	// Forgot is called if the bucket, which ends at last, does not have seen any more as
	// it was seen. What it holds is told from the beginning then.
	Forgot(bucket protocol.Bucket, seen, last uint64)
}

// How a bucket is followed.
const (
	// followAgain is the wait after an attempt that failed.
	followAgain = 50 * time.Millisecond
	// followPulse is how often the broker says that it still knows of us.
	followPulse = time.Second
	// followExpiry is how long one request for values stands.
	followExpiry = 10 * time.Second
	// followCall bounds one question to the broker.
	followCall = 5 * time.Second
)

// Follow tells w what is and what comes in a bucket until ctx ends, also when the
// broker is away in between: after each of its deaths it goes on from the last
// revision that was seen. The connection must be one of account STATE that reconnects
// for as long as Follow runs. The error is why it did not follow when ctx ended; nil
// if it did.
func Follow(ctx context.Context, conn *nats.Conn, b protocol.Bucket, w Watcher) error {
	f := &follower{conn: conn, bucket: b, watcher: w}
	for {
		err := f.session(ctx)
		if ctx.Err() != nil {
			if errors.Is(err, context.Canceled) {
				err = f.failed // to be interrupted is none of its own
			}
			if err == nil {
				return nil
			}
			return fmt.Errorf("follow bucket %s: %w", b, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(followAgain):
		}
	}
}

// follower knows how far it has come.
type follower struct {
	conn    *nats.Conn
	bucket  protocol.Bucket
	watcher Watcher
	// seen is the last revision that was told of, at the broker's time of it, and born
	// that when its bucket was made.
	seen uint64
	at   time.Time
	born time.Time
	// failed is why the last attempt did not begin to follow; nil if it did.
	failed error
}

// session follows until ctx ends, or the connection was renewed, with which what the
// broker knew of us is gone.
func (f *follower) session(ctx context.Context) error {
	renewed := f.conn.StatusChanged(nats.CONNECTED)
	defer f.conn.RemoveStatusListener(renewed)
	if !f.conn.IsConnected() {
		select {
		case <-renewed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-renewed:
		case <-ctx.Done():
		}
	}()
	messages, err := f.messages(ctx)
	if err != nil {
		if ctx.Err() == nil {
			f.failed = err
		}
		return err
	}
	f.failed = nil
	defer messages.Stop()
	for {
		message, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("next value: %w", err)
		}
		if err := f.take(message); err != nil {
			return err
		}
	}
}

// messages are the bucket's values from the one after the last that was seen.
func (f *follower) messages(ctx context.Context) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(ctx, followCall)
	defer cancel()
	js, err := jetstream.New(f.conn)
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, f.bucket.Stream())
	if err != nil {
		return nil, fmt.Errorf("open the bucket: %w", err)
	}
	info := stream.CachedInfo()
	forgotten, err := f.forgotten(ctx, stream)
	if err != nil {
		return nil, err
	}
	if forgotten {
		f.watcher.Forgot(f.bucket, f.seen, info.State.LastSeq)
		f.seen = 0
	}
	f.born = info.Created
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       f.seen + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: time.Minute,
		MemoryStorage:     true,
	})
	if err != nil {
		return nil, fmt.Errorf("ask for the values from %d: %w", f.seen+1, err)
	}
	messages, err := consumer.Messages(jetstream.PullExpiry(followExpiry), jetstream.PullHeartbeat(followPulse))
	if err != nil {
		return nil, fmt.Errorf("ask for the values from %d: %w", f.seen+1, err)
	}
	return messages, nil
}

// forgotten says whether the bucket is known not to have the last revision that was
// seen: it ends before, is another bucket, or has given the number to another value.
func (f *follower) forgotten(ctx context.Context, stream jetstream.Stream) (bool, error) {
	info := stream.CachedInfo()
	switch {
	case f.seen == 0:
		return false, nil
	case info.State.LastSeq < f.seen || !info.Created.Equal(f.born):
		return true, nil
	}
	message, err := stream.GetMsg(ctx, f.seen)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil // another one of its key has followed
	}
	if err != nil {
		return false, fmt.Errorf("look at the last value that was seen: %w", err)
	}
	return !message.Time.Equal(f.at), nil
}

func (f *follower) take(message jetstream.Msg) error {
	meta, err := message.Metadata()
	if err != nil {
		return fmt.Errorf("read a value's number: %w", err)
	}
	switch number := meta.Sequence.Stream; {
	case number <= f.seen:
		return nil
	case number > f.seen+1:
		f.watcher.Skipped(f.bucket, f.seen+1, number-1)
	}
	f.seen, f.at = meta.Sequence.Stream, meta.Timestamp
	value, err := stored(f.bucket, message.Subject(), message.Headers(), message.Data(), f.seen, meta.Timestamp)
	if err != nil {
		return nil //nolint:nilerr // a key that is no device's is nobody's value
	}
	f.watcher.Stored(f.bucket, value)
	return nil
}

// Present reads what the bucket holds for the device now, deleted or not. A key that
// never was is [ErrNoDocument].
func Present(ctx context.Context, conn *nats.Conn, b protocol.Bucket, id protocol.DeviceID) (Stored, error) {
	what := fmt.Sprintf("read %s of %s", b, id)
	js, err := jetstream.New(conn)
	if err != nil {
		return Stored{}, fmt.Errorf("%s: use JetStream: %w", what, err)
	}
	stream, err := js.Stream(ctx, b.Stream())
	if err != nil {
		return Stored{}, fmt.Errorf("%s: %w", what, err)
	}
	message, err := stream.GetLastMsgForSubject(ctx, b.Subject(id))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Stored{}, fmt.Errorf("%s: %w", what, ErrNoDocument)
	}
	if err != nil {
		return Stored{}, fmt.Errorf("%s: %w", what, err)
	}
	return stored(b, message.Subject, message.Header, message.Data, message.Sequence, message.Time)
}

func stored(b protocol.Bucket, subject string, header nats.Header, data []byte, number uint64, at time.Time) (Stored, error) {
	id, err := protocol.ParseDeviceID(strings.TrimPrefix(subject, b.Subject("")))
	if err != nil {
		return Stored{}, fmt.Errorf("value %d of bucket %s: %w", number, b, err)
	}
	return Stored{Device: id, Revision: number, Time: at, Data: data, Deleted: deleted(header)}, nil
}
