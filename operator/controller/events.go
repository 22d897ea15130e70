package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
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

// Start implements source.Source. What was said before is asked for here, since
// nobody took it then.
func (s *source) Start(_ context.Context, q queue) error {
	s.events.mu.Lock()
	s.attach(s.events, q)
	s.events.mu.Unlock()
	s.events.all()
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

func request(id protocol.DeviceID) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: string(id)}}
}

// device asks for a reconcile of a device, whose desired state may be due.
func (e *Events) device(id protocol.DeviceID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.devices != nil {
		urgently(e.devices, id)
	}
}

// said asks for a reconcile of a device that has said something, soon: however
// often it does, the cluster hears of it once in a while.
func (e *Events) said(id protocol.DeviceID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.devices != nil {
		e.devices.AddAfter(request(id), settle)
	}
}

// all asks for a reconcile of every device.
func (e *Events) all() {
	for _, id := range e.table.IDs() {
		e.device(id)
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

// selecting are the UIDs of the deployments that select a device.
func (e *Events) selecting(id protocol.DeviceID) []string {
	return slices.Collect(maps.Keys(e.table.Get(id).Shares))
}

// denied asks for all that a change of the deny list concerns: whoever is on it counts
// for no deployment.
func (e *Events) denied(id protocol.DeviceID) {
	e.device(id)
	e.concerns(e.selecting(id))
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
		// One that cannot be read is ignored: the last good one stays in use, lest a device
		// lose its labels, and with them what it runs.
		info, ok := read(v, decodeInfo, func(i *protocol.DeviceInfo) protocol.DeviceID { return i.Device })
		if ok && !reflect.DeepEqual(e.table.Get(v.ID).Info, info) {
			e.table.SetInfo(v.ID, info)
			e.said(v.ID)
		}
	case protocol.BucketStatus:
		// One that cannot be read is none: whatever the device said before, it does not
		// say so any more.
		status, _ := read(v, protocol.DecodeDeviceStatus, func(s *protocol.DeviceStatus) protocol.DeviceID { return s.Device })
		before := e.table.Get(v.ID).Status
		if reflect.DeepEqual(before, status) {
			return
		}
		e.concerns(e.table.SetStatus(v.ID, status))
		if (before == nil) != (status == nil) || refusal(before) != refusal(status) {
			e.said(v.ID)
		}
		if known := e.table.Get(v.ID); rollbackFrom(known) > 0 && rollbackFrom(known) != rollbackFrom(fleet.Device{Status: before, Desired: known.Desired}) {
			// The device has applied more than its bucket knows of.
			e.device(v.ID)
		}
	case protocol.BucketDesired:
		before := e.table.Get(v.ID).Desired
		e.concerns(e.table.SetDesired(v.ID, fleet.Desired{Revision: v.Revision, Document: v.Data}))
		if v.Revision > before.Revision && !bytes.Equal(before.Document, v.Data) {
			e.device(v.ID)
		}
	case protocol.BucketDenied:
		if e.table.SetDenial(v.ID, denial(v)) {
			e.denied(v.ID)
		}
	}
}

// decodeInfo reads what a device is. Its labels must be such that the API server
// takes them, which is a little less than the protocol does.
func decodeInfo(data []byte) (*protocol.DeviceInfo, error) {
	info, err := protocol.DecodeDeviceInfo(data)
	if err != nil {
		return nil, err
	}
	if errs := validation.ValidateLabels(info.Labels, field.NewPath("labels")); len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", protocol.ErrInvalidDocument, errs.ToAggregate())
	}
	return info, nil
}

func refusal(s *protocol.DeviceStatus) string {
	if s == nil {
		return ""
	}
	return s.Error
}

// read decodes a value that the device v.ID wrote; nil says that it was deleted.
// It reports whether it could be read, and speaks of that device; nothing is read of it
// otherwise.
func read[T any](v bucket.Value, decode func([]byte) (*T, error), device func(*T) protocol.DeviceID) (*T, bool) {
	if v.Data == nil {
		return nil, true
	}
	d, err := decode(v.Data)
	if err != nil {
		refuse("A device wrote what cannot be read; it is ignored.", "device", v.ID, "error", err)
		return nil, false
	}
	if device(d) != v.ID {
		refuse("A device wrote about another; it is ignored.", "device", v.ID, "other", device(d))
		return nil, false
	}
	return d, true
}

// Snapshot implements bucket.Follower.
func (e *Events) Snapshot(b protocol.Bucket, values []bucket.Value) {
	switch b {
	case protocol.BucketDesired:
		desired := make(map[protocol.DeviceID]fleet.Desired, len(values))
		for _, v := range values {
			desired[v.ID] = fleet.Desired{Revision: v.Revision, Document: v.Data}
		}
		e.table.ReplaceDesired(desired)
		// Whatever could not be written while the broker was away is due now.
		e.all()
	case protocol.BucketDenied:
		denials := make(map[protocol.DeviceID]fleet.Denial, len(values))
		for _, v := range values {
			denials[v.ID] = denial(v)
		}
		for _, id := range e.table.ReplaceDenials(denials) {
			e.denied(id)
		}
	default:
		present := make(map[protocol.DeviceID]bool, len(values))
		for _, v := range values {
			present[v.ID] = true
			e.Changed(b, v)
		}
		for _, id := range e.table.IDs() {
			if !present[id] {
				e.Changed(b, bucket.Value{ID: id})
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

// Heartbeat takes a message from a device's heartbeat subject, and returns the
// device that it is from if it is one.
func (e *Events) Heartbeat(m *nats.Msg) (protocol.DeviceID, bool) {
	id, ok := protocol.DeviceOf(m.Subject)
	if !ok {
		return "", false
	}
	beat, err := protocol.DecodeHeartbeat(m.Data)
	if err != nil || beat.Device != id {
		refuse("What arrived as a heartbeat is none; it is ignored.", "device", id, "error", err)
		return "", false
	}
	if e.table.Heartbeat(id, time.Now()) {
		e.said(id)
		e.concerns(e.selecting(id))
	}
	return id, true
}

// look is how often it is looked whether a device has gone missing.
const look = time.Second

// Expire watches for devices that have gone missing, until ctx ends. While
// nothing can be heard, because we are not connected, none is; and when the
// connection was renewed none is before its turn, as devices come back over the
// spread.
func (e *Events) Expire(ctx context.Context, connection func() (renewed uint64, stands bool), spread func() time.Duration) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	listening, last := false, uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			renewed, stands := connection()
			switch {
			case stands && renewed != last:
				e.table.Listening(now.Add(spread()))
			case stands && !listening:
				e.table.Listening(now)
			}
			listening, last = stands, renewed
			if !listening {
				continue
			}
			e.table.Listened(look)
			for _, id := range e.table.Expire(now, spread()) {
				e.said(id)
				e.concerns(e.selecting(id))
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
