package wire

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/protocol"
)

// ErrNoDocument says that a bucket holds nothing for a device.
var ErrNoDocument = errors.New("no document")

// Headers of an answer to a direct read.
const (
	headerSequence  = "Nats-Sequence"
	headerStatus    = "Status"
	headerOperation = "KV-Operation"
)

// deleted says that a header marks a deleted key. Some clients mark values too.
func deleted(header nats.Header) bool {
	operation := header.Get(headerOperation)
	return operation == "DEL" || operation == "PURGE"
}

// Document is a value of a bucket.
type Document struct {
	Data []byte
	// Revision is the bucket's revision of the value.
	Revision uint64
}

// Read reads the bucket's document of the device by a direct read. A key that
// never was or was deleted is [ErrNoDocument].
func (c *Client) Read(ctx context.Context, bucket protocol.Bucket, id protocol.DeviceID) (Document, error) {
	what := fmt.Sprintf("read %s of %s", bucket, id)
	msg, err := c.conn.RequestWithContext(ctx, bucket.DirectGet(id), nil)
	if err != nil {
		return Document{}, fmt.Errorf("%s: %w", what, err)
	}
	switch status := msg.Header.Get(headerStatus); status {
	case "":
	case "404":
		return Document{}, fmt.Errorf("%s: %w", what, ErrNoDocument)
	default:
		return Document{}, fmt.Errorf("%s: status %s: %s", what, status, msg.Header.Get("Description"))
	}
	if stored := protocol.StoredSubject(msg.Header); stored != bucket.Subject(id) {
		return Document{}, fmt.Errorf("%s: the answer is the value of %q", what, stored)
	}
	revision, err := strconv.ParseUint(msg.Header.Get(headerSequence), 10, 64)
	if err != nil {
		return Document{}, fmt.Errorf("%s: revision: %w", what, err)
	}
	if deleted(msg.Header) {
		return Document{Revision: revision}, fmt.Errorf("%s: %w: it was deleted", what, ErrNoDocument)
	}
	return Document{Data: msg.Data, Revision: revision}, nil
}

// Desired reads the device's desired state.
func (c *Client) Desired(ctx context.Context, id protocol.DeviceID) (*protocol.DesiredState, uint64, error) {
	return read(ctx, c, protocol.BucketDesired, id, protocol.DecodeDesiredState)
}

// Status reads the device's status.
func (c *Client) Status(ctx context.Context, id protocol.DeviceID) (*protocol.DeviceStatus, uint64, error) {
	return read(ctx, c, protocol.BucketStatus, id, protocol.DecodeDeviceStatus)
}

// Info reads what the device is.
func (c *Client) Info(ctx context.Context, id protocol.DeviceID) (*protocol.DeviceInfo, uint64, error) {
	return read(ctx, c, protocol.BucketInfo, id, protocol.DecodeDeviceInfo)
}

func read[T any](ctx context.Context, c *Client, bucket protocol.Bucket, id protocol.DeviceID, decode func([]byte) (*T, error)) (*T, uint64, error) {
	found, err := c.Read(ctx, bucket, id)
	if err != nil {
		return nil, 0, err
	}
	document, err := decode(found.Data)
	if err != nil {
		return nil, 0, fmt.Errorf("read %s of %s: %w", bucket, id, err)
	}
	return document, found.Revision, nil
}

// heartbeatBuffer is how many heartbeats may wait for whoever listens.
const heartbeatBuffer = 1024

// Heartbeats is a subscription to the heartbeats of devices.
type Heartbeats struct {
	client *Client
	sub    *nats.Subscription
	msgs   chan *nats.Msg
}

// Heartbeats listens on subject, which is one device's heartbeat or all of them.
// When it returns, the broker knows of the subscription: every heartbeat that
// arrives was sent after the call.
func (c *Client) Heartbeats(ctx context.Context, subject string) (*Heartbeats, error) {
	msgs := make(chan *nats.Msg, heartbeatBuffer)
	sub, err := c.conn.ChanSubscribe(subject, msgs)
	if err != nil {
		return nil, fmt.Errorf("listen to %s: %w", subject, err)
	}
	if err := c.Settle(ctx); err != nil {
		return nil, err
	}
	return &Heartbeats{client: c, sub: sub, msgs: msgs}, nil
}

// Next returns the next heartbeat. One that names another device than its
// subject does is an error.
func (h *Heartbeats) Next(ctx context.Context) (*protocol.Heartbeat, error) {
	select {
	case msg := <-h.msgs:
		beat, err := protocol.DecodeHeartbeat(msg.Data)
		if err != nil {
			return nil, fmt.Errorf("on %s: %w", msg.Subject, err)
		}
		if protocol.HeartbeatSubject(beat.Device) != msg.Subject {
			return nil, fmt.Errorf("on %s: a heartbeat that names %s", msg.Subject, beat.Device)
		}
		return beat, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a heartbeat on %s: %w", h.sub.Subject, ctx.Err())
	}
}

// Drain returns the heartbeats that have arrived so far, and how many messages
// arrived that are none.
func (h *Heartbeats) Drain(ctx context.Context) (beats []*protocol.Heartbeat, strays int, err error) {
	if err := h.client.Settle(ctx); err != nil {
		return nil, 0, err
	}
	for {
		select {
		case msg := <-h.msgs:
			beat, err := protocol.DecodeHeartbeat(msg.Data)
			if err != nil {
				strays++
				continue
			}
			beats = append(beats, beat)
		default:
			return beats, strays, nil
		}
	}
}

// Close ends the subscription.
func (h *Heartbeats) Close() error {
	if err := h.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("stop listening: %w", err)
	}
	return nil
}
