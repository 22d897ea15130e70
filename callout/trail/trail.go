package trail

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/protocol"
)

// DefaultQueue is how many decisions wait for the broker by default: those of some
// seconds of a storm, in 4 MiB.
const DefaultQueue = 8192

const (
	// maxMessage is the most bytes of decisions in one message, less than the
	// stream takes: a line and the headers fit beside it.
	maxMessage = protocol.MaxDocumentSize / 2
	// gathering is how long a decision waits for others to share a message with: a fleet
	// that comes back does so one by one, and to send each by itself was some twentieth
	// of a callout's processor time in a storm (by its profile, besides being woken). If
	// enough wait already, they go at once.
	gathering = 100 * time.Millisecond
	enough    = 64
	// ackTimeout bounds the wait for the broker to say that it has a message.
	ackTimeout = 5 * time.Second
	// retryWait is the time between two attempts to send a message.
	retryWait = 250 * time.Millisecond
)

// Options say how a [Trail] works. Zero values take the defaults.
type Options struct {
	// Queue is how many decisions may wait; more are lost to the stream.
	Queue int
	// Kept is told how many decisions the stream has taken, Lost how many it will
	// never see because the queue was full. Both may be nil and must not block.
	Kept, Lost func(int)
	Log        *slog.Logger
}

// Trail takes decisions to the audit stream.
type Trail struct {
	options Options
	queue   chan entry
	// pending is how many decisions are not in the stream yet.
	pending atomic.Int64
	// rest is the message that could not be sent over an earlier connection.
	rest *message
}

// entry is a decision and when it was made.
type entry struct {
	record audit.Record
	at     time.Time
}

// message is a batch of decisions. It keeps its id until it is taken, so that the
// stream drops it if it has it already.
type message struct {
	id      string
	data    []byte
	records int
}

// New returns a trail that sends nothing until [Trail.Run] is called.
func New(o Options) *Trail {
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	if o.Kept == nil {
		o.Kept = func(int) {}
	}
	if o.Lost == nil {
		o.Lost = func(int) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Trail{options: o, queue: make(chan entry, o.Queue)}
}

// Add takes a decision. It never blocks: one for which there is no room is lost to
// the stream.
func (t *Trail) Add(r *audit.Record) {
	t.pending.Add(1)
	select {
	case t.queue <- entry{record: *r, at: time.Now()}:
	default:
		t.pending.Add(-1)
		t.options.Lost(1)
	}
}

// Pending is how many decisions are not in the stream yet.
func (t *Trail) Pending() int { return int(t.pending.Load()) }

// Run sends decisions over nc until ctx ends or closed is closed. It may be run
// again with another connection, but not twice at a time.
func (t *Trail) Run(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("write the audit stream: %w", err)
	}
	failed := false
	for {
		if t.rest == nil {
			select {
			case first := <-t.queue:
				t.gather(ctx, closed)
				t.rest = t.batch(first)
			case <-ctx.Done():
				return nil
			case <-closed:
				return nil
			}
		}
		err := t.send(ctx, js)
		if err == nil {
			if failed {
				t.options.Log.InfoContext(ctx, "The audit stream takes decisions again.")
			}
			failed = false
			continue
		}
		if !failed && ctx.Err() == nil {
			t.options.Log.WarnContext(ctx, "The audit stream takes no decisions; they wait. Each is in this log.", "error", err)
		}
		failed = true
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
			return nil
		case <-time.After(retryWait):
		}
	}
}

// Flush waits until all decisions that were added are in the stream. It needs
// [Trail.Run] to be running, and gives up when ctx ends.
func (t *Trail) Flush(ctx context.Context) error {
	tick := time.NewTicker(retryWait / 10)
	defer tick.Stop()
	for t.Pending() > 0 {
		select {
		case <-ctx.Done():
			return fmt.Errorf("write the audit stream: %d decisions are left: %w", t.Pending(), ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// gather waits until enough decisions may have come to be sent together.
func (t *Trail) gather(ctx context.Context, closed <-chan struct{}) {
	if len(t.queue) >= enough {
		return
	}
	select {
	case <-time.After(gathering):
	case <-ctx.Done():
	case <-closed:
	}
}

// batch makes a message of first and what else waits.
func (t *Trail) batch(first entry) *message {
	var text bytes.Buffer
	lines := slog.New(slog.NewJSONHandler(&text, nil)).Handler()
	m := &message{id: rand.Text()}
	for next := first; ; {
		next.record.Handle(context.Background(), lines, next.at)
		m.records++
		if text.Len() >= maxMessage {
			break
		}
		select {
		case next = <-t.queue:
			continue
		default:
		}
		break
	}
	m.data = text.Bytes()
	return m
}

// errNoStream says that nobody takes what is sent to the audit stream.
var errNoStream = errors.New("the broker has no audit stream for us: is stream " + protocol.AuditStream + " made, and shared with account " + protocol.AccountAuth + "?")

func (t *Trail) send(ctx context.Context, js jetstream.JetStream) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	msg := &nats.Msg{Subject: protocol.AuditSubject, Data: t.rest.data}
	_, err := js.PublishMsg(ctx, msg, jetstream.WithMsgID(t.rest.id), jetstream.WithExpectStream(protocol.AuditStream))
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return errNoStream
	case err != nil:
		return fmt.Errorf("write the audit stream: %w", err)
	}
	t.options.Kept(t.rest.records)
	t.pending.Add(-int64(t.rest.records))
	t.rest = nil
	return nil
}
