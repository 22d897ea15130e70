package pace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// DefaultRate is how many admissions a second are reckoned with until they were
// measured. Two processors that broker, callout, issuer and devices share admit
// about as many (docs/scale.md).
const DefaultRate = 400

// Every is how often it is looked whether the fleet's size or the rate has changed.
const Every = 5 * time.Second

// tolerance, in percent, is by how much the spread may be wrong before it is
// published anew.
const tolerance = 10

// shrinkAfter is how long a spread must have been too long before it is shortened.
// A broker that lost its memory knows few devices for a while.
const shrinkAfter = 10 * time.Minute

// Publisher writes the fleet's settings.
type Publisher struct {
	// Gauge measures the rate; it must be told of every heartbeat.
	Gauge Gauge

	nc    *nats.Conn
	store *bucket.Store
	table *fleet.Table
	// synced reports whether the table is whole.
	synced func() bool
	rate   int
	now    func() time.Time
	// inForce is the spread that was last seen to be published, in nanoseconds; zero if
	// none was.
	inForce atomic.Int64
	// long is since when the spread is too long; zero if it is not.
	long time.Time
	// server is the broker's process that we were connected to last, by its id.
	server string
}

// NewPublisher returns a publisher that reckons with rate admissions a second
// unless a rate was measured and published before.
func NewPublisher(nc *nats.Conn, store *bucket.Store, table *fleet.Table, synced func() bool, rate int) *Publisher {
	return &Publisher{nc: nc, store: store, table: table, synced: synced, rate: rate, now: time.Now}
}

// Start implements manager.Runnable: it publishes until ctx ends.
func (p *Publisher) Start(ctx context.Context) error {
	connected := p.nc.StatusChanged(nats.CONNECTED)
	defer p.nc.RemoveStatusListener(connected)
	tick := time.NewTicker(Every)
	defer tick.Stop()
	p.restarted()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-connected:
			if p.restarted() {
				p.begin()
			}
		case <-tick.C:
			if err := p.Publish(ctx); err != nil && ctx.Err() == nil {
				slog.WarnContext(ctx, "The fleet's settings are not published.", "error", err)
			}
		}
	}
}

// restarted reports whether we are connected to another process than when it was last
// asked. Where it is the same, the connection that was lost is ours alone, and devices
// that go on being heard are none that came back.
func (p *Publisher) restarted() bool {
	was, now := p.server, p.nc.ConnectedServerId()
	if now == "" {
		return false // It is lost again, and there will be another.
	}
	p.server = now
	return now != was
}

// Spread is the time over which devices come back, as far as is known; zero if none
// was published yet.
func (p *Publisher) Spread() time.Duration { return time.Duration(p.inForce.Load()) }

// begin measures how the fleet comes back.
func (p *Publisher) begin() {
	spread := p.Spread()
	if spread == 0 {
		return // Nobody knows over which time they come.
	}
	alive := 0
	p.table.Each(func(d *fleet.Device) {
		if d.Alive {
			alive++
		}
	})
	p.Gauge.Begin(p.now(), alive, spread)
}

// published returns the settings in force, nil if there are none that can be read,
// and their revision.
func (p *Publisher) published(ctx context.Context) (*protocol.FleetSettings, uint64, error) {
	value, err := p.store.Get(ctx, protocol.BucketSettings, protocol.SettingsKey)
	if err != nil || value.Data == nil {
		return nil, value.Revision, err
	}
	current, err := protocol.DecodeFleetSettings(value.Data)
	if err != nil {
		slog.WarnContext(ctx, "The fleet's settings cannot be read; they are written anew.", "error", err)
		return nil, value.Revision, nil
	}
	p.inForce.Store(int64(current.Spread()))
	return current, value.Revision, nil
}

// publishTimeout bounds one round.
const publishTimeout = 2 * time.Second

// Publish writes the settings if they are not what they should be. While the
// broker is away, or not all devices are known yet, it does nothing.
func (p *Publisher) Publish(ctx context.Context) error {
	if !p.synced() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	current, revision, err := p.published(ctx)
	if errors.Is(err, bucket.ErrAway) {
		return nil
	}
	if err != nil {
		return err
	}
	rate := p.rate
	if current != nil {
		rate = current.AdmissionsPerSecond
	}
	measured, ok := p.Gauge.Take(p.now(), rate)
	if ok {
		slog.InfoContext(ctx, "The fleet is back.", "admissionsPerSecond", measured, "before", rate)
		rate = measured
	}
	next := p.settings(rate)
	if current != nil && !ok && !p.due(current.Spread(), next.Spread()) {
		return nil
	}
	data, err := next.Encode()
	if err != nil {
		return err
	}
	_, err = p.store.Put(ctx, protocol.BucketSettings, protocol.SettingsKey, data, revision)
	if errors.Is(err, bucket.ErrAway) || errors.Is(err, bucket.ErrMovedOn) {
		return nil // The next round does it.
	}
	if err != nil {
		return fmt.Errorf("publish the fleet's settings: %w", err)
	}
	p.inForce.Store(int64(next.Spread()))
	slog.InfoContext(ctx, "Devices spread their connections anew.", "over", next.Spread(), "devices", next.Devices)
	return nil
}

// settings are those that the fleet should have.
func (p *Publisher) settings(rate int) *protocol.FleetSettings {
	devices := 0
	p.table.Each(func(d *fleet.Device) {
		if d.Info != nil {
			devices++
		}
	})
	return &protocol.FleetSettings{
		Version:             protocol.Version,
		SpreadMillis:        protocol.SpreadFor(devices, rate).Milliseconds(),
		Devices:             devices,
		AdmissionsPerSecond: rate,
	}
}

// due reports whether a spread is to be published in the place of the current one:
// a longer one at once, a shorter one when it has been so for long.
func (p *Publisher) due(current, next time.Duration) bool {
	if next*100 >= current*(100-tolerance) {
		p.long = time.Time{}
		return next*100 > current*(100+tolerance)
	}
	if p.long.IsZero() {
		p.long = p.now()
	}
	return p.now().Sub(p.long) >= shrinkAfter
}
