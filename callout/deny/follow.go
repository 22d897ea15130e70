package deny

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// ErrNoList says that the broker answers nothing about the deny list: there is no
// such bucket, or account AUTH does not see it.
var ErrNoList = errors.New("the broker has no deny list for us: is bucket \"" + string(protocol.BucketDenied) + "\" made, and shared with account " + protocol.AccountAuth + "?")

// errBehind says that the bucket has less than was read of it before.
var errBehind = errors.New("the bucket has less than was read of it before: the server that answers is behind, or the bucket was restored")

const (
	// pollInterval is how often changes are asked for although nothing rang, in
	// case that a ring was lost.
	pollInterval = 5 * time.Second
	// wholeInterval is how often the whole list is read again, which finds a
	// bucket that was removed and made anew.
	wholeInterval = time.Minute
	// retryInterval is the time between two attempts to read that failed.
	retryInterval = 250 * time.Millisecond
	// lagInterval is the time between two attempts to read an entry that rang, of which
	// there are so many: of several servers the one that is asked may not have it yet.
	lagInterval = 50 * time.Millisecond
	lagAttempts = 40
	// doubtInterval is how long a bucket that has less than before is taken for that of a
	// server that is behind, of several, and not for one that was restored.
	doubtInterval = 5 * time.Second
	// readTimeout bounds the wait for the next entry.
	readTimeout = 2 * time.Second
	// batchSize is how many entries are asked for at a time.
	batchSize = 512
)

// Run keeps the list as the bucket has it and throws those out who are on it,
// over nc, until ctx ends or closed is closed. It may be run again with another
// connection. Whatever happens to the broker, the list that was last read stays
// in use.
func (l *List) Run(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{list: l, nc: nc}
	ring := make(chan struct{}, 1)
	doorbell, err := nc.Subscribe(protocol.AllDenials, func(msg *nats.Msg) {
		// One that names no entry rings all the same.
		sequence, _ := sequenceOf(msg.Header)
		if before := f.rung.Swap(sequence); sequence > 0 && sequence <= before {
			f.anew.Store(true)
		}
		select {
		case ring <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("listen for changes of the deny list: %w", err)
	}
	defer func() { _ = doorbell.Unsubscribe() }() // the connection may be gone
	connected := nc.StatusChanged(nats.CONNECTED)
	defer nc.RemoveStatusListener(connected)

	ended := make(chan error, 1)
	go func() { ended <- l.expel(ctx, nc) }()
	defer func() { cancel(); <-ended }()

	for {
		wait := f.step(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			return nil
		case err := <-ended:
			ended <- err
			return err
		case <-connected:
			// A broker may come back with less than it had.
			f.whole, f.all = time.Time{}, true
		case <-ring:
			f.attempts = lagAttempts
		case <-time.After(wait):
		}
	}
}

// follower reads the bucket over one connection.
type follower struct {
	list *List
	nc   *nats.Conn
	// rung is the sequence of the entry that rang last, or was the last when the whole
	// list was first read; attempts is how often it is still tried to read it. Anew says
	// that one rang which is no later than the one before: the bucket is another by now.
	rung     atomic.Uint64
	attempts int
	anew     atomic.Bool
	// whole is when the whole list was last read.
	whole time.Time
	// doubted is since when the bucket has had less than before; zero if it has not.
	doubted time.Time
	// all has everybody on the list thrown out, not only who is new to it.
	all bool
	// failed says that the last attempt failed and was logged.
	failed bool
}

// step reads what there is and returns the time until it should be tried again.
func (f *follower) step(ctx context.Context) time.Duration {
	if !f.nc.IsConnected() {
		return pollInterval
	}
	began := time.Now()
	err := f.read(ctx)
	switch {
	case ctx.Err() != nil:
		return pollInterval
	case err != nil:
		if !f.failed {
			f.list.options.Log.WarnContext(ctx, "The deny list cannot be read; trying again. What was last read stays in use, and nobody is admitted before it was read once.", "error", err)
		}
		f.failed = true
		return retryInterval
	}
	if f.failed {
		f.list.options.Log.InfoContext(ctx, "The deny list can be read again.", "names", f.list.Len())
	}
	f.failed = false
	f.list.read.Store(&began)
	f.list.first.Do(func() {
		f.list.options.Log.InfoContext(ctx, "The deny list is known.", "names", f.list.Len())
		close(f.list.loaded)
	})
	if f.attempts > 0 && f.list.reached <= f.rung.Load() {
		f.attempts--
		return lagInterval
	}
	return pollInterval
}

func (f *follower) read(ctx context.Context) error {
	if f.anew.Swap(false) {
		f.whole = time.Time{}
	}
	if time.Since(f.whole) < wholeInterval {
		next, err := f.walk(ctx, f.list.reached, func(name string, denied bool) {
			if !f.list.set(name, denied) {
				return
			}
			f.list.options.Log.InfoContext(ctx, "The deny list has changed.", "name", name, "denied", denied)
			if denied {
				f.list.chase.add(name)
			}
		})
		f.list.reached = next
		return err
	}
	names := make(map[string]struct{})
	next, err := f.walk(ctx, 1, func(name string, denied bool) {
		if denied {
			names[name] = struct{}{}
		} else {
			delete(names, name)
		}
	})
	if err != nil {
		return err
	}
	if next < f.list.reached {
		if f.doubted.IsZero() {
			f.doubted = time.Now()
		}
		// Whoever was put on the list meanwhile must not come in because of it.
		if time.Since(f.doubted) < doubtInterval {
			return errBehind
		}
	}
	f.doubted = time.Time{}
	added := f.list.replace(names)
	first := !f.loaded()
	if !first {
		f.list.chase.add(added...)
	}
	if first || f.all {
		f.list.chase.sweep(slices.Sorted(maps.Keys(names)))
	}
	f.list.reached, f.whole, f.all = next, time.Now(), false
	f.rung.CompareAndSwap(0, next-1)
	return nil
}

func (f *follower) loaded() bool {
	select {
	case <-f.list.loaded:
		return true
	default:
		return false
	}
}

// walk has take told of all entries from sequence from on, in the order in which
// they were written, and returns the sequence after the last.
func (f *follower) walk(ctx context.Context, from uint64, take func(name string, denied bool)) (next uint64, err error) {
	for {
		var more bool
		if from, more, err = f.batch(ctx, from, take); err != nil || !more {
			return from, err
		}
	}
}

// Headers of an answer to a direct read, and what they say; from nats-server,
// server/stream.go, and for key-value buckets ADR-8.
const (
	headerSequence  = "Nats-Sequence"
	headerPending   = "Nats-Num-Pending"
	headerStatus    = "Status"
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
	operationPurge  = "PURGE"
	statusEnd       = "204"
	statusNone      = "404"
)

// batch reads at most batchSize entries and reports whether there are more.
func (f *follower) batch(ctx context.Context, from uint64, take func(name string, denied bool)) (next uint64, more bool, err error) {
	request, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": protocol.BucketDenied.Subjects(), "batch": batchSize})
	if err != nil {
		return from, false, fmt.Errorf("ask for the deny list: %w", err)
	}
	answers, err := f.nc.SubscribeSync(f.nc.NewInbox())
	if err != nil {
		return from, false, fmt.Errorf("ask for the deny list: %w", err)
	}
	defer func() { _ = answers.Unsubscribe() }() // the connection may be gone
	if err := f.nc.PublishRequest(protocol.BucketDenied.DirectNext(), answers.Subject, request); err != nil {
		return from, false, fmt.Errorf("ask for the deny list: %w", err)
	}
	for next = from; ; {
		msg, err := one(ctx, answers)
		if err != nil {
			return next, false, err
		}
		subject := protocol.StoredSubject(msg.Header)
		switch status := msg.Header.Get(headerStatus); {
		case subject != "": // an entry, whatever else its header says
		case status == statusNone:
			return next, false, nil
		case status == statusEnd:
			pending, err := strconv.ParseUint(msg.Header.Get(headerPending), 10, 64)
			if err != nil {
				return next, false, fmt.Errorf("read the deny list: how much is left: %w", err)
			}
			return next, pending > 0 && next > from, nil
		default:
			return next, false, fmt.Errorf("read the deny list: the broker answers %s %s", status, msg.Header.Get("Description"))
		}
		sequence, err := sequenceOf(msg.Header)
		if err != nil {
			return next, false, fmt.Errorf("read the deny list: sequence of an entry: %w", err)
		}
		next = sequence + 1
		name := strings.TrimPrefix(subject, protocol.BucketDenied.Subject(""))
		// Whatever an entry says, it denies, unless it is the mark of a deleted one.
		operation := msg.Header.Get(headerOperation)
		take(name, operation != operationDelete && operation != operationPurge)
	}
}

// sequenceOf is the sequence that the server gave an entry. Whoever wrote it may have
// put a header of that name before the server's, as one who copies entries does.
func sequenceOf(header nats.Header) (uint64, error) {
	values := header.Values(headerSequence)
	if len(values) == 0 {
		return 0, errors.New("there is none")
	}
	return strconv.ParseUint(values[len(values)-1], 10, 64)
}

func one(ctx context.Context, answers *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	msg, err := answers.NextMsgWithContext(ctx)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("read the deny list: %w", ErrNoList)
	case err != nil:
		return nil, fmt.Errorf("read the deny list: %w", err)
	}
	return msg, nil
}
