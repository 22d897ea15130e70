package operatortest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/protocol"
)

// Devices speak to the broker as any number of agents would, from account
// DEVICES. What devices cannot do, they do as the operator's user.
type Devices struct {
	conn, state *nats.Conn
	publisher   jetstream.JetStream
	js          jetstream.JetStream
	sequence    atomic.Uint64
}

// NewDevices returns devices that are connected to the broker.
func NewDevices(b *Broker) (*Devices, error) {
	d := new(Devices)
	var err error
	if d.conn, err = b.ConnectDevices(); err != nil {
		return nil, err
	}
	if d.publisher, err = jetstream.New(d.conn); err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	if d.state, err = b.Connect(); err != nil {
		return nil, err
	}
	if d.js, err = jetstream.New(d.state); err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return d, nil
}

// Close ends the connections.
func (d *Devices) Close() {
	d.conn.Close()
	d.state.Close()
}

// Connected waits until both connections stand again after an outage.
func (d *Devices) Connected(ctx context.Context) error {
	for _, nc := range []*nats.Conn{d.conn, d.state} {
		if err := nc.FlushWithContext(ctx); err != nil {
			return fmt.Errorf("wait for the broker: %w", err)
		}
	}
	return nil
}

// Publish stores data as id's value in the bucket, whatever it is, and returns
// its revision.
func (d *Devices) Publish(ctx context.Context, b protocol.Bucket, id protocol.DeviceID, data []byte) (uint64, error) {
	js := d.publisher
	if b == protocol.BucketDesired || b == protocol.BucketDenied {
		js = d.js
	}
	ack, err := js.Publish(ctx, b.Subject(id), data)
	if err != nil {
		return 0, fmt.Errorf("write %s of %s: %w", b, id, err)
	}
	return ack.Sequence, nil
}

// Delete puts a deletion mark in the place of id's value.
func (d *Devices) Delete(ctx context.Context, b protocol.Bucket, id protocol.DeviceID) error {
	kv, err := d.js.KeyValue(ctx, string(b))
	if err != nil {
		return fmt.Errorf("open bucket %s: %w", b, err)
	}
	return kv.Delete(ctx, string(id))
}

// Say publishes data on a subject of the devices, whatever it is.
func (d *Devices) Say(subject string, data []byte) error { return d.conn.Publish(subject, data) }

// Info says what a device is.
func (d *Devices) Info(ctx context.Context, id protocol.DeviceID, labels map[string]string) error {
	return d.InfoWithKey(ctx, id, labels, nil)
}

// InfoWithKey says what a device is, and what secrets are sealed for it with.
func (d *Devices) InfoWithKey(ctx context.Context, id protocol.DeviceID, labels map[string]string, key []byte) error {
	info := &protocol.DeviceInfo{
		Version: protocol.Version, Device: id, Labels: labels, Facts: protocol.Facts{AgentVersion: "v1", CPUs: 2}, SealingKey: key,
	}
	data, err := info.Encode()
	if err != nil {
		return err
	}
	_, err = d.Publish(ctx, protocol.BucketInfo, id, data)
	return err
}

// Beat sends a device's heartbeat.
func (d *Devices) Beat(id protocol.DeviceID) error {
	beat := &protocol.Heartbeat{Version: protocol.Version, Device: id, Time: time.Now(), Sequence: d.sequence.Add(1)}
	data, err := beat.Encode()
	if err != nil {
		return err
	}
	return d.conn.Publish(protocol.HeartbeatSubject(id), data)
}

// Status says how a device is doing.
func (d *Devices) Status(ctx context.Context, status *protocol.DeviceStatus) error {
	status.Version = protocol.Version
	data, err := status.Encode()
	if err != nil {
		return err
	}
	_, err = d.Publish(ctx, protocol.BucketStatus, status.Device, data)
	return err
}

// Desired returns a device's desired state and its revision; the state is nil
// if the key was deleted, and the revision 0 if there never was one.
func (d *Devices) Desired(ctx context.Context, id protocol.DeviceID) (*protocol.DesiredState, uint64, error) {
	stream, err := d.js.Stream(ctx, protocol.BucketDesired.Stream())
	if err != nil {
		return nil, 0, fmt.Errorf("open the desired states: %w", err)
	}
	m, err := stream.GetLastMsgForSubject(ctx, protocol.BucketDesired.Subject(id))
	if isNotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the desired state of %s: %w", id, err)
	}
	// Anything but the mark of a deletion is a value: some clients mark those too.
	if mark := m.Header.Get("KV-Operation"); mark == "DEL" || mark == "PURGE" {
		return nil, m.Sequence, nil
	}
	state, err := protocol.DecodeDesiredState(m.Data)
	return state, m.Sequence, err
}

// Denial returns the device's entry on the deny list, as it was written; nil if it
// is not on it.
func (d *Devices) Denial(ctx context.Context, id protocol.DeviceID) (*protocol.Denial, error) {
	kv, err := d.js.KeyValue(ctx, string(protocol.BucketDenied))
	if err != nil {
		return nil, fmt.Errorf("open the deny list: %w", err)
	}
	entry, err := kv.Get(ctx, string(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the deny list: %w", err)
	}
	return protocol.DecodeDenial(entry.Value())
}

// Writes is how many messages the bucket was ever written.
func (d *Devices) Writes(ctx context.Context, b protocol.Bucket) (uint64, error) {
	stream, err := d.js.Stream(ctx, b.Stream())
	if err != nil {
		return 0, fmt.Errorf("open bucket %s: %w", b, err)
	}
	return stream.CachedInfo().State.LastSeq, nil
}

// Obey has every device answer each of its desired states at once: that all of
// its containers run. It returns when ctx ends.
func (d *Devices) Obey(ctx context.Context, workers int) error {
	kv, err := d.js.KeyValue(ctx, string(protocol.BucketDesired))
	if err != nil {
		return fmt.Errorf("open the desired states: %w", err)
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch the desired states: %w", err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer watcher.Stop() //nolint:errcheck // the connection ends soon
	work := make(chan jetstream.KeyValueEntry)
	defer close(work)
	for range workers {
		group.Go(func() {
			for entry := range work {
				// A failure shows as a device that never answers.
				_ = d.Status(ctx, Obedient(protocol.DeviceID(entry.Key()), entry))
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case entry, ok := <-watcher.Updates():
			if !ok {
				return nil
			}
			if entry == nil {
				continue
			}
			select {
			case work <- entry:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// Obedient is the status of a device on which everything that entry asks for
// runs.
func Obedient(id protocol.DeviceID, entry jetstream.KeyValueEntry) *protocol.DeviceStatus {
	status := &protocol.DeviceStatus{Version: protocol.Version, Device: id, Revision: entry.Revision()}
	if entry.Operation() != jetstream.KeyValuePut {
		return status
	}
	state, err := protocol.DecodeDesiredState(entry.Value())
	if err != nil {
		status.Error = err.Error()
		return status
	}
	return Running(id, entry.Revision(), state)
}

// Running is the status of a device on which all containers of state run.
func Running(id protocol.DeviceID, revision uint64, state *protocol.DesiredState) *protocol.DeviceStatus {
	status := &protocol.DeviceStatus{Version: protocol.Version, Device: id, Revision: revision}
	for _, c := range state.Containers {
		status.Containers = append(status.Containers, protocol.ContainerStatus{Name: c.Name, Deployment: c.Deployment, Phase: protocol.ContainerRunning})
	}
	return status
}

func isNotFound(err error) bool { return errors.Is(err, jetstream.ErrMsgNotFound) }

// Doorbell returns a channel that is closed when the device's doorbell rings.
func (d *Devices) Doorbell(id protocol.DeviceID) (<-chan struct{}, error) {
	rung := make(chan struct{})
	sub, err := d.conn.Subscribe(protocol.DoorbellSubject(id), func(m *nats.Msg) {
		if protocol.IsOwnDoorbell(id, m.Header.Get(protocol.HeaderSubject)) {
			close(rung)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listen for the doorbell of %s: %w", id, err)
	}
	if err := errors.Join(sub.AutoUnsubscribe(1), d.conn.Flush()); err != nil {
		return nil, fmt.Errorf("listen for the doorbell of %s: %w", id, err)
	}
	return rung, nil
}
