package bucket

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"github.com/seatrial/seatrial/protocol"
)

// ErrMovedOn is returned by writes when the key has changed since the revision
// that the writer knows.
var ErrMovedOn = errors.New("the key has changed meanwhile")

// ErrAway is returned by reads and writes while the broker cannot be reached. Once it can,
// [Store.Follow] tells its follower everything anew: that is when to try again.
var ErrAway = errors.New("the broker is away")

// Store reads and writes the buckets as the user of account STATE.
type Store struct {
	nc *nats.Conn
	js jetstream.JetStream
	// problem is why the buckets are not followed; it points to nil if they are.
	problem atomic.Pointer[error]
	// turn is had by the one bucket whose values are being read. Of each the broker sends
	// what it can, and drops a connection for which more than 64 MiB wait: all of a large
	// fleet's at once would never be had over a slow network.
	turn *semaphore.Weighted
}

// NewStore returns a store over nc.
func NewStore(nc *nats.Conn) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	s := &Store{nc: nc, js: js, turn: semaphore.NewWeighted(1)}
	s.problem.Store(&errNotYet)
	return s, nil
}

// Problem returns why the buckets are not followed at present, or nil.
func (s *Store) Problem() error {
	if !s.Connected() {
		return fmt.Errorf("the connection to the broker is %s", s.nc.Status())
	}
	return *s.problem.Load()
}

// Connected reports whether the connection to the broker stands.
func (s *Store) Connected() bool { return s.nc.IsConnected() }

// Connection returns how often the connection was renewed, and whether it stands.
func (s *Store) Connection() (renewed uint64, stands bool) {
	return s.nc.Stats().Reconnects, s.Connected()
}

// Ensure makes the streams of the contract or brings their settings up to date.
// What is in them stays.
func (s *Store) Ensure(ctx context.Context) error {
	for _, settings := range protocol.Streams() {
		if _, err := s.js.CreateOrUpdateStream(ctx, stream(settings)); err != nil {
			return fmt.Errorf("ensure stream %s: %w", settings.Name, err)
		}
	}
	return nil
}

func stream(settings protocol.StreamSettings) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:              settings.Name,
		Subjects:          settings.Subjects,
		MaxMsgsPerSubject: settings.MaxMsgsPerSubject,
		MaxMsgSize:        settings.MaxMsgSize,
		AllowDirect:       settings.AllowDirect,
		AllowRollup:       settings.AllowRollup,
		DenyDelete:        settings.DenyDelete,
		DenyPurge:         settings.DenyPurge,
		MaxAge:            settings.MaxAge,
		MaxBytes:          settings.MaxBytes,
		MaxMsgs:           settings.MaxMsgs,
		Duplicates:        settings.Duplicates,
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardOld,
	}
	if settings.DiscardNew {
		c.Discard = jetstream.DiscardNew
	}
	if settings.RepublishDestination != "" {
		c.RePublish = &jetstream.RePublish{
			Source:      settings.RepublishSource,
			Destination: settings.RepublishDestination,
			HeadersOnly: true,
		}
	}
	return c
}

// Get reads the value of id. One that never was has revision 0.
func (s *Store) Get(ctx context.Context, b protocol.Bucket, id protocol.DeviceID) (Value, error) {
	v := Value{ID: id}
	if !s.Connected() {
		return v, fmt.Errorf("read %s: %w", b.Subject(id), ErrAway)
	}
	stream, err := s.js.Stream(ctx, b.Stream())
	var m *jetstream.RawStreamMsg
	if err == nil {
		m, err = stream.GetLastMsgForSubject(ctx, b.Subject(id))
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return v, nil
	}
	if err != nil && !s.Connected() {
		return v, fmt.Errorf("read %s: %w: %w", b.Subject(id), ErrAway, err)
	}
	if err != nil {
		return v, fmt.Errorf("read %s: %w", b.Subject(id), err)
	}
	v.Revision = m.Sequence
	// Anything but the mark of a deletion is a value: some clients mark those too.
	if operation := m.Header.Get(headerOperation); operation != operationDelete && operation != operationPurge {
		v.Data = m.Data
	}
	return v, nil
}

// Put writes the value of id, whose last revision is known to be last (0 if it
// never had one), and returns the new revision. If the key has changed since,
// the error wraps [ErrMovedOn] and nothing is written.
func (s *Store) Put(ctx context.Context, b protocol.Bucket, id protocol.DeviceID, value []byte, last uint64) (uint64, error) {
	return s.write(ctx, b, &nats.Msg{Subject: b.Subject(id), Data: value}, last)
}

// Delete puts a mark in the place of id's value, as [Store.Put] would a value.
func (s *Store) Delete(ctx context.Context, b protocol.Bucket, id protocol.DeviceID, last uint64) (uint64, error) {
	return s.write(ctx, b, &nats.Msg{
		Subject: b.Subject(id),
		Header:  nats.Header{headerOperation: {operationDelete}},
	}, last)
}

// The mark of a deleted key, as NATS key-value buckets have it:
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-8.md.
const (
	headerOperation = "KV-Operation"
	operationDelete = "DEL"
	operationPurge  = "PURGE"
)

func (s *Store) write(ctx context.Context, b protocol.Bucket, m *nats.Msg, last uint64) (uint64, error) {
	if !s.Connected() {
		return 0, fmt.Errorf("write %s: %w", m.Subject, ErrAway)
	}
	ack, err := s.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithExpectStream(b.Stream()))
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, fmt.Errorf("write %s: %w: %w", m.Subject, ErrMovedOn, err)
	}
	if err != nil && !s.Connected() {
		return 0, fmt.Errorf("write %s: %w: %w", m.Subject, ErrAway, err)
	}
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", m.Subject, err)
	}
	return ack.Sequence, nil
}
