package chaos

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// How the fleet is observed.
const (
	// observerWait is the wait between attempts to reach the broker again: shorter
	// than everybody else's, so that little is written over before it is seen.
	observerWait = 10 * time.Millisecond
	// readTimeout bounds what is read at the end.
	readTimeout = 20 * time.Second
	// mostUnseen is how long a device may be unseen at a pace of 1, taken over the whole
	// time: one that is off, starts, and is off again is seen rarely, but it is seen.
	mostUnseen = 30 * time.Second
)

// observer writes down what the broker and the devices show. It connects as the
// operator's user, which the broker admits without the callout, so that it sees what
// happens while nobody else is let in.
type observer struct {
	in      Input
	history *ledger.History
	conn    *nats.Conn
}

// observe begins to write everything down. What it returns observes until ctx ends.
func (in Input) observe(ctx context.Context, history *ledger.History) (*observer, *errgroup.Group, error) {
	conn, err := in.Stack.Broker.Connect(ctx, broker.Operator, nats.Name("the ledger"),
		nats.MaxReconnects(-1), nats.ReconnectWait(observerWait), nats.ReconnectJitter(0, 0))
	if err != nil {
		return nil, nil, fmt.Errorf("observe the fleet: %w", err)
	}
	o := &observer{in: in, history: history, conn: conn}
	if _, err := conn.Subscribe(protocol.AllHeartbeats, o.beat); err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("observe heartbeats: %w", err)
	}
	every := in.Stack.Intervals.Interval(IntervalLook).Poll
	group, ctx := errgroup.WithContext(ctx)
	for _, b := range []protocol.Bucket{protocol.BucketDesired, protocol.BucketStatus} {
		group.Go(func() error { return wire.Follow(ctx, conn, b, o) })
	}
	for _, on := range in.Stack.Devices {
		group.Go(func() error {
			for wait := every; pause(ctx, wait) == nil; {
				began := time.Now()
				wait = every
				// One that is off, or changes meanwhile, is looked at the next time.
				if o.look(ctx, on) == nil {
					// Looking must not become what keeps a slow device busy.
					wait = max(every, time.Since(began))
				}
			}
			return nil
		})
	}
	return o, group, nil
}

// Stored implements wire.Watcher.
func (o *observer) Stored(b protocol.Bucket, v wire.Stored) { o.history.Add(o.event(b, v, false)) }

// Skipped implements wire.Watcher.
func (o *observer) Skipped(b protocol.Bucket, first, last uint64) {
	o.history.Add(ledger.Event{Skipped: &ledger.Skipped{Bucket: string(b), First: first, Last: last}})
}

// Forgot implements wire.Watcher.
func (o *observer) Forgot(b protocol.Bucket, seen, last uint64) {
	o.history.Add(ledger.Event{Forgot: &ledger.Forgot{Bucket: string(b), Seen: seen, Last: last}})
}

func (o *observer) event(b protocol.Bucket, v wire.Stored, final bool) ledger.Event {
	if b == protocol.BucketDesired {
		return ledger.Event{Desired: o.revision(v, final)}
	}
	return ledger.Event{Status: o.status(v, final)}
}

// unreadable stands in the place of a device's id in what is no document, so that it
// is taken for nobody's.
const unreadable = "(unreadable)"

// digest tells two contents apart, also in what a history does not note.
func digest(v wire.Stored) string {
	sum := sha256.Sum256(v.Data)
	return hex.EncodeToString(sum[:8])
}

func (o *observer) revision(v wire.Stored, final bool) *ledger.Revision {
	r := &ledger.Revision{Device: string(v.Device), Number: v.Revision, Stored: v.Time.UTC(), Digest: digest(v), Final: final}
	if v.Deleted {
		return r
	}
	document, err := protocol.DecodeDesiredState(v.Data)
	if err != nil {
		r.Of = unreadable
		return r
	}
	r.Of, r.RollbackFrom = string(document.Device), document.RollbackFrom
	for _, c := range document.Containers {
		if !o.in.Ours(c.Deployment.Name) {
			continue
		}
		w := ledger.Wanted{Name: c.Name, Deployment: c.Deployment.Name}
		for _, e := range c.Env {
			if e.Name == level {
				w.Level = e.Value
			}
		}
		r.Containers = append(r.Containers, w)
	}
	return r
}

func (o *observer) status(v wire.Stored, final bool) *ledger.Status {
	s := &ledger.Status{Device: string(v.Device), Sequence: v.Revision, Stored: v.Time.UTC(), Digest: digest(v), Final: final}
	document, err := protocol.DecodeDeviceStatus(v.Data)
	if err != nil {
		s.Of = unreadable
		return s
	}
	s.Of, s.Revision, s.Error = string(document.Device), document.Revision, document.Error
	for _, c := range document.Containers {
		if o.in.Ours(c.Deployment.Name) {
			s.Containers = append(s.Containers, ledger.Runs{
				Name: c.Name, Deployment: c.Deployment.Name, Done: c.Phase.Done(), ID: c.ContainerID,
				Phase: strings.TrimSpace(fmt.Sprintf("%s %s %s", c.Phase, c.Reason, c.Message)),
			})
		}
	}
	return s
}

func (o *observer) beat(msg *nats.Msg) {
	id, _ := protocol.DeviceOf(msg.Subject)
	b := &ledger.Beat{Device: string(id), Of: unreadable}
	if beat, err := protocol.DecodeHeartbeat(msg.Data); err == nil {
		b.Of, b.Time, b.Sequence, b.Revision = string(beat.Device), beat.Time, beat.Sequence, beat.Revision
	}
	o.history.Add(ledger.Event{Beat: b})
}

// look writes down what podman shows on the device.
func (o *observer) look(ctx context.Context, on device.Device) error {
	ctx, cancel := context.WithTimeout(ctx, o.in.Stack.Intervals.Interval(IntervalLook).Timeout)
	defer cancel()
	all, err := o.in.Live(ctx, on)
	if err != nil {
		return err
	}
	l := &ledger.Look{Device: on.ID()}
	for _, c := range all {
		l.Containers = append(l.Containers, found(c))
	}
	o.history.Add(ledger.Event{Look: l})
	return nil
}

func found(c *define.InspectContainerData) ledger.Found {
	f := ledger.Found{
		Name: strings.TrimPrefix(c.Name, "/"), ID: c.ID, Owner: c.Config.Labels[trial.OwnerLabel],
		State: c.State.Status, Started: c.State.StartedAt.UTC(),
	}
	for _, e := range c.Config.Env {
		if value, is := strings.CutPrefix(e, level+"="); is {
			f.Level = value
		}
	}
	return f
}
