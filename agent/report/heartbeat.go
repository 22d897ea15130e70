package report

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seatrial/seatrial/agent/connection"
	"github.com/seatrial/seatrial/protocol"
)

// Publisher sends messages that nobody acknowledges.
type Publisher interface {
	Publish(subject string, data []byte) error
}

// Heart says that the device is alive.
type Heart struct {
	device   protocol.DeviceID
	interval time.Duration
	revision func() uint64
	broker   Publisher
	log      *slog.Logger
	now      chan struct{}
	sequence uint64
}

// NewHeart returns a heart that beats every interval and tells the revision that
// is followed.
func NewHeart(device protocol.DeviceID, interval time.Duration, revision func() uint64, broker Publisher, log *slog.Logger) *Heart {
	return &Heart{device: device, interval: interval, revision: revision, broker: broker, log: log, now: make(chan struct{}, 1)}
}

// Beat has the heart beat now. It does not block.
func (h *Heart) Beat() {
	select {
	case h.now <- struct{}{}:
	default:
	}
}

// Run beats until ctx ends. Without a connection a beat is lost.
func (h *Heart) Run(ctx context.Context) {
	tick := time.NewTicker(h.interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.now:
			tick.Reset(h.interval)
		}
		if err := h.beat(); err != nil && !errors.Is(err, connection.ErrDown) {
			h.log.WarnContext(ctx, "could not send a heartbeat", "error", err)
		}
	}
}

func (h *Heart) beat() error {
	h.sequence++
	beat := &protocol.Heartbeat{
		Version: protocol.Version, Device: h.device, Time: time.Now().UTC(), Sequence: h.sequence, Revision: h.revision(),
	}
	data, err := beat.Encode()
	if err != nil {
		return err
	}
	return h.broker.Publish(protocol.HeartbeatSubject(h.device), data)
}
