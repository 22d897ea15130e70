package fleet

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// Desired is the desired state of a device as its bucket holds it.
type Desired struct {
	// Revision is the bucket's; 0 says that there never was a value.
	Revision uint64
	// Document is the value; nil if it was deleted or never was.
	Document []byte
}

// Rendered is what the operator last rendered for a device.
type Rendered struct {
	// Generations are those of the deployments that select the device, by UID.
	Generations map[string]int64
	// Conflicts are the containers the device does not get, by the UID of the
	// deployment that loses, with the winner for each.
	Conflicts map[string]map[string]protocol.DeploymentRef
}

// Device is what is known of one device. What it points to is never changed.
type Device struct {
	ID       protocol.DeviceID
	Info     *protocol.DeviceInfo
	Status   *protocol.DeviceStatus
	Desired  Desired
	Labels   map[string]string
	Rendered Rendered
	// LastSeen is when a heartbeat last arrived, by our clock; zero if none did
	// since the operator started.
	LastSeen time.Time
	// Alive is whether heartbeats arrive; Known is whether that can be said yet.
	Alive, Known bool
}

// Table holds all devices. Its zero value is not usable; it is safe for
// concurrent use.
type Table struct {
	timeout time.Duration
	started time.Time

	mu      sync.RWMutex
	devices map[protocol.DeviceID]*Device
}

// NewTable returns an empty table. A device is missing when no heartbeat arrived
// for timeout; counting begins now, so that a restarted operator does not
// declare a fleet missing that it has not listened to yet.
func NewTable(timeout time.Duration) *Table {
	return &Table{timeout: timeout, started: time.Now(), devices: make(map[protocol.DeviceID]*Device)}
}

// Get returns what is known of id; the zero Device with that id if nothing is.
func (t *Table) Get(id protocol.DeviceID) Device {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if d := t.devices[id]; d != nil {
		return *d
	}
	return Device{ID: id}
}

// Each calls f for every device, in no order. f must not call the table.
func (t *Table) Each(f func(*Device)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, d := range t.devices {
		f(d)
	}
}

func (t *Table) change(id protocol.DeviceID, f func(*Device)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.devices[id]
	if d == nil {
		d = &Device{ID: id}
		t.devices[id] = d
	}
	f(d)
}

// SetInfo records what a device is; nil says that its key is gone.
func (t *Table) SetInfo(id protocol.DeviceID, info *protocol.DeviceInfo) {
	t.change(id, func(d *Device) { d.Info = info })
}

// SetStatus records how a device is doing and returns the UIDs of the
// deployments that this concerns.
func (t *Table) SetStatus(id protocol.DeviceID, status *protocol.DeviceStatus) (concerned []string) {
	t.change(id, func(d *Device) {
		d.Status = status
		concerned = slices.Collect(maps.Keys(d.Rendered.Generations))
	})
	return concerned
}

// SetDesired records the value of a device's desired state. A revision older
// than the one that is known is late news and ignored.
func (t *Table) SetDesired(id protocol.DeviceID, desired Desired) (changed bool) {
	t.change(id, func(d *Device) {
		if desired.Revision > d.Desired.Revision {
			d.Desired, changed = desired, true
		}
	})
	return changed
}

// ForgetDesired records that a device's desired state has no value and no past,
// as after the loss of the broker's disk.
func (t *Table) ForgetDesired(id protocol.DeviceID) {
	t.change(id, func(d *Device) { d.Desired = Desired{} })
}

// SetRendered records what was rendered for a device with which labels, and
// returns the UIDs of the deployments for which that is news.
func (t *Table) SetRendered(id protocol.DeviceID, labels map[string]string, r Rendered) (concerned []string) {
	t.change(id, func(d *Device) {
		for uid, generation := range r.Generations {
			before, was := d.Rendered.Generations[uid]
			if !was || before != generation || !maps.Equal(d.Rendered.Conflicts[uid], r.Conflicts[uid]) {
				concerned = append(concerned, uid)
			}
		}
		for uid := range d.Rendered.Generations {
			if _, still := r.Generations[uid]; !still {
				concerned = append(concerned, uid)
			}
		}
		d.Labels, d.Rendered = labels, r
	})
	return concerned
}

// Unrendered reports whether there is a device that has said what it is and for
// which nothing was rendered yet.
func (t *Table) Unrendered() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, d := range t.devices {
		if d.Info != nil && d.Rendered.Generations == nil {
			return true
		}
	}
	return false
}

// Heartbeat records that a device was heard of now, and returns whether it was
// not taken for alive before.
func (t *Table) Heartbeat(id protocol.DeviceID, now time.Time) (news bool) {
	t.change(id, func(d *Device) {
		news = !d.Alive
		d.LastSeen, d.Alive, d.Known = now, true, true
	})
	return news
}

// Expire returns the devices that have just turned out to be missing.
func (t *Table) Expire(now time.Time) (missing []protocol.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, d := range t.devices {
		since := d.LastSeen
		if since.IsZero() {
			since = t.started
		}
		if now.Sub(since) > t.timeout && (d.Alive || !d.Known) {
			d.Alive, d.Known = false, true
			missing = append(missing, id)
		}
	}
	return missing
}
