package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/time/rate"

	"github.com/seatrial/seatrial/agent/connection"
)

// ErrNotStored says that the broker did not store a document.
var ErrNotStored = errors.New("broker did not store the document")

// Requester asks the broker.
type Requester interface {
	Request(ctx context.Context, subject string, data []byte) (*nats.Msg, error)
}

// How documents are written.
const (
	// gather is how long changes are gathered that come together.
	gather       = 20 * time.Millisecond
	writeTimeout = 5 * time.Second
	retryFirst   = 500 * time.Millisecond
	retryLast    = 15 * time.Second
	// A document that changes all the time, because a container ends again and
	// again, say, is written at this pace.
	writesPerSecond = 5
	writesAtOnce    = 20
)

// Document keeps one document in a bucket as it should be.
type Document struct {
	subject string
	render  func(ctx context.Context) ([]byte, error)
	broker  Requester
	log     *slog.Logger
	changed chan struct{}
	// rewrite has the document written although it has not changed.
	rewrite atomic.Bool
	pace    *rate.Limiter
}

// NewDocument returns the document that is written on a subject as render has it.
func NewDocument(subject string, render func(ctx context.Context) ([]byte, error), broker Requester, log *slog.Logger) *Document {
	return &Document{
		subject: subject, render: render, broker: broker, log: log.With("subject", subject),
		changed: make(chan struct{}, 1), pace: rate.NewLimiter(writesPerSecond, writesAtOnce),
	}
}

// Changed says that the document may have changed. It does not block.
func (d *Document) Changed() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Rewrite has the document written: the broker may have forgotten it. It does not
// block.
func (d *Document) Rewrite() {
	d.rewrite.Store(true)
	d.Changed()
}

// Run writes the document whenever it has changed, until ctx ends.
func (d *Document) Run(ctx context.Context) {
	var written []byte
	var retry <-chan time.Time
	wait := retryFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
		case <-retry:
		}
		retry = nil
		if pause(ctx, gather) != nil || d.pace.Wait(ctx) != nil {
			return
		}
		data, err := d.write(ctx, written)
		switch {
		case err == nil:
			written, wait = data, retryFirst
		case errors.Is(err, connection.ErrDown):
			// The next connection asks for a rewrite.
			written = nil
		case ctx.Err() == nil:
			written = nil
			d.log.WarnContext(ctx, "could not write a document, trying again", "error", err)
			retry = time.After(wait)
			wait = min(2*wait, retryLast)
		}
	}
}

// write writes the document unless it is as written, and returns what it is.
func (d *Document) write(ctx context.Context, written []byte) ([]byte, error) {
	rewrite := d.rewrite.Swap(false)
	data, err := d.render(ctx)
	if err != nil {
		return nil, err
	}
	if !rewrite && written != nil && bytes.Equal(data, written) {
		return data, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	answer, err := d.broker.Request(ctx, d.subject, data)
	if err != nil {
		return nil, err
	}
	return data, acknowledged(answer.Data)
}

// acknowledged reads JetStream's answer to a write.
func acknowledged(data []byte) error {
	var ack struct {
		Sequence uint64 `json:"seq"`
		Error    *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, &ack); err != nil {
		return fmt.Errorf("%w: %w", ErrNotStored, err)
	}
	if ack.Error != nil {
		return fmt.Errorf("%w: %d %.200s", ErrNotStored, ack.Error.Code, ack.Error.Description)
	}
	if ack.Sequence == 0 {
		return fmt.Errorf("%w: the answer has no sequence", ErrNotStored)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
