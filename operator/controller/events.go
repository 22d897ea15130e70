package controller

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// queue is what events are put into.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// settle is how long a deployment's counts may lag behind its devices: statuses
// that arrive within it are added up once.
const settle = 250 * time.Millisecond

// Events turns what the fleet says into work for the controllers. It is both
// the follower of the buckets and the source of both controllers' requests.
type Events struct {
	table *fleet.Table

	mu                   sync.Mutex
	devices, deployments queue
	// complete holds the buckets that were told in full; synced is closed when
	// all were.
	complete map[protocol.Bucket]bool
	synced   chan struct{}
	// keys maps the UID of a deployment to its name.
	keys map[string]types.NamespacedName
}

// NewEvents returns events about the devices in table.
func NewEvents(table *fleet.Table) *Events {
	return &Events{
		table:    table,
		complete: make(map[protocol.Bucket]bool),
		synced:   make(chan struct{}),
		keys:     make(map[string]types.NamespacedName),
	}
}

// source is one controller's view of the events. It implements
// source.TypedSyncingSource: a controller does not begin before the buckets were
// told in full, lest it take what it has not heard of for what is not there.
type source struct {
	events *Events
	attach func(*Events, queue)
}

// Start implements source.Source.
func (s *source) Start(_ context.Context, q queue) error {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	s.attach(s.events, q)
	return nil
}

// WaitForSync implements source.SyncingSource.
func (s *source) WaitForSync(ctx context.Context) error {
	select {
	case <-s.events.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Events) deviceSource() *source {
	return &source{e, func(e *Events, q queue) { e.devices = q }}
}

func (e *Events) deploymentSource() *source {
	return &source{e, func(e *Events, q queue) { e.deployments = q }}
}

// device asks for a reconcile of a device.
func (e *Events) device(id protocol.DeviceID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.devices != nil {
		e.devices.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: string(id)}})
	}
}

// concerns asks for a reconcile of the deployments with these UIDs, soon.
func (e *Events) concerns(uids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deployments == nil {
		return
	}
	for _, uid := range uids {
		if key, ok := e.keys[uid]; ok {
			e.deployments.AddAfter(reconcile.Request{NamespacedName: key}, settle)
		}
	}
}

// name remembers what the deployment with a UID is called.
func (e *Events) name(uid string, key types.NamespacedName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.keys[uid] = key
}

func (e *Events) forget(uid string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.keys, uid)
}

// Changed implements bucket.Follower.
func (e *Events) Changed(b protocol.Bucket, v bucket.Value) {
	switch b {
	case protocol.BucketInfo:
		info, ok := read(v, protocol.DecodeDeviceInfo, func(i *protocol.DeviceInfo) protocol.DeviceID { return i.Device })
		if ok {
			e.table.SetInfo(v.ID, info)
			e.device(v.ID)
		}
	case protocol.BucketStatus:
		status, ok := read(v, protocol.DecodeDeviceStatus, func(s *protocol.DeviceStatus) protocol.DeviceID { return s.Device })
		if ok {
			before := e.table.Get(v.ID).Status
			e.concerns(e.table.SetStatus(v.ID, status))
			if refusal(before) != refusal(status) {
				e.device(v.ID)
			}
		}
	case protocol.BucketDesired:
		before := e.table.Get(v.ID).Desired
		if e.table.SetDesired(v.ID, fleet.Desired{Revision: v.Revision, Document: v.Data}) && !bytes.Equal(before.Document, v.Data) {
			e.device(v.ID)
		}
	}
}

func refusal(s *protocol.DeviceStatus) string {
	if s == nil {
		return ""
	}
	return s.Error
}

// read decodes a value that the device v.ID wrote; nil says that it was deleted.
// What cannot be read, or speaks of another device, is ignored: the last good
// value stays in use.
func read[T any](v bucket.Value, decode func([]byte) (*T, error), device func(*T) protocol.DeviceID) (*T, bool) {
	if v.Data == nil {
		return nil, true
	}
	d, err := decode(v.Data)
	if err != nil {
		refusedDocuments.Inc()
		slog.Warn("A device wrote what cannot be read; it is ignored.", "device", v.ID, "error", err)
		return nil, false
	}
	if device(d) != v.ID {
		refusedDocuments.Inc()
		slog.Warn("A device wrote about another; it is ignored.", "device", v.ID, "other", device(d))
		return nil, false
	}
	return d, true
}

// Complete implements bucket.Follower.
func (e *Events) Complete(b protocol.Bucket, present map[protocol.DeviceID]bool) {
	var gone []protocol.DeviceID
	e.table.Each(func(d *fleet.Device) {
		if !present[d.ID] {
			gone = append(gone, d.ID)
		}
	})
	for _, id := range gone {
		switch b {
		case protocol.BucketInfo:
			e.table.SetInfo(id, nil)
		case protocol.BucketStatus:
			e.concerns(e.table.SetStatus(id, nil))
		case protocol.BucketDesired:
			if e.table.Get(id).Desired.Revision > 0 {
				e.table.ForgetDesired(id)
				e.device(id)
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.complete[b] = true
	if len(e.complete) == len(protocol.Buckets()) {
		select {
		case <-e.synced:
		default:
			close(e.synced)
		}
	}
}

// Heartbeat takes a message from a device's heartbeat subject.
func (e *Events) Heartbeat(m *nats.Msg) {
	id, ok := protocol.DeviceOf(m.Subject)
	if !ok {
		return
	}
	beat, err := protocol.DecodeHeartbeat(m.Data)
	if err != nil || beat.Device != id {
		refusedDocuments.Inc()
		slog.Warn("What arrived as a heartbeat is none; it is ignored.", "device", id, "error", err)
		return
	}
	if e.table.Heartbeat(id, time.Now()) {
		e.device(id)
	}
}

// Expire watches for devices that have gone missing, until ctx ends.
func (e *Events) Expire(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, id := range e.table.Expire(now) {
				e.device(id)
			}
		}
	}
}

// Synced returns an error until all buckets were told in full.
func (e *Events) Synced() error {
	select {
	case <-e.synced:
		return nil
	default:
		return errNotSynced
	}
}

var errNotSynced = errors.New("the buckets have not been read yet")
