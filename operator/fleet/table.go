package fleet

import (
	"bytes"
	"maps"
	"sync"
	"time"

	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// Desired is the desired state of a device as its bucket holds it.
type Desired struct {
	// Revision is the bucket's; 0 says that there never was a value.
	Revision uint64
	// Document is the value; nil if it was deleted or never was.
	Document []byte
}

// Denial is a device's key on the deny list.
type Denial struct {
	// Revision is the bucket's; 0 says that there never was an entry.
	Revision uint64
	// Listed is whether the device is on the list. Entry is what was written there;
	// nil if it cannot be read, which denies none the less.
	Listed bool
	Entry  *protocol.Denial
}

// Share is what one deployment has of a device that it selects.
type Share struct {
	// Generation is that of the deployment's spec.
	Generation int64
	// Since is the first revision of the device's desired state that held the
	// deployment's containers as they are now; 0 if none does yet.
	Since uint64
	// Conflicts are the containers that the device does not get, each with the
	// older deployment that holds its name.
	Conflicts map[string]protocol.DeploymentRef
	// TooLarge says that the device gets none of the deployment's containers,
	// because its desired state would exceed the protocol's bounds.
	TooLarge bool
	// Held says why the device keeps the containers that it has.
	Held render.Hold
}

func (s Share) equal(o Share) bool {
	return s.Generation == o.Generation && s.Since == o.Since && s.TooLarge == o.TooLarge && s.Held == o.Held && maps.Equal(s.Conflicts, o.Conflicts)
}

// Shares are those of the deployments that select a device, by their UID. They
// are nil if nothing was rendered for the device yet.
type Shares map[string]Share

// Rendered is what was last rendered for a device.
type Rendered struct {
	// Resource is whether there is a Device resource, and Labels are its.
	Resource bool
	Labels   map[string]string
	Shares   Shares
}

// Device is what is known of one device. What it points to is never changed.
type Device struct {
	ID      protocol.DeviceID
	Info    *protocol.DeviceInfo
	Status  *protocol.DeviceStatus
	Desired Desired
	Denial  Denial
	Rendered
	// LastSeen is when a heartbeat last arrived, by our clock; zero if none did
	// since the operator started.
	LastSeen time.Time
	// Alive is whether heartbeats arrive; Known is whether that can be said yet.
	Alive, Known bool
	// heard is for how long devices could be heard, all told, by LastSeen.
	heard time.Duration
}

// Table holds all devices. Its zero value is not usable; it is safe for
// concurrent use.
type Table struct {
	timeout time.Duration

	mu        sync.RWMutex
	devices   map[protocol.DeviceID]*Device
	listening time.Time
	listened  time.Duration
}

// NewTable returns an empty table. A device is missing when no heartbeat arrived
// for timeout, counted from when the operator began to listen.
func NewTable(timeout time.Duration) *Table {
	return &Table{timeout: timeout, listening: time.Now(), devices: make(map[protocol.DeviceID]*Device)}
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

// IDs returns the ids of all devices, in no order.
func (t *Table) IDs() []protocol.DeviceID {
	t.mu.RLock()
	defer t.mu.RUnlock()
	ids := make([]protocol.DeviceID, 0, len(t.devices))
	for id := range t.devices {
		ids = append(ids, id)
	}
	return ids
}

// change has f change what is known of id, and returns the deployments that f
// says it concerns.
func (t *Table) change(id protocol.DeviceID, f func(*Device) bool) (concerned []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.devices[id]
	if d == nil {
		d = &Device{ID: id}
		t.devices[id] = d
	}
	if f(d) {
		for uid := range d.Shares {
			concerned = append(concerned, uid)
		}
	}
	return concerned
}

// SetInfo records what a device is; nil says that its key is gone.
func (t *Table) SetInfo(id protocol.DeviceID, info *protocol.DeviceInfo) {
	t.change(id, func(d *Device) bool { d.Info = info; return false })
}

// SetStatus records how a device is doing, nil if its key is gone, and returns
// the UIDs of the deployments that this concerns.
func (t *Table) SetStatus(id protocol.DeviceID, status *protocol.DeviceStatus) (concerned []string) {
	return t.change(id, func(d *Device) bool { d.Status = status; return true })
}

// SetDesired records the value of a device's desired state and returns the UIDs
// of the deployments that this concerns. A revision older than the one that is
// known is late news and ignored.
func (t *Table) SetDesired(id protocol.DeviceID, desired Desired) (concerned []string) {
	return t.change(id, func(d *Device) bool {
		news := desired.Revision > d.Desired.Revision
		if news {
			d.Desired = desired
		}
		return news
	})
}

// SetDenial records a device's key on the deny list and returns whether that is
// news. A revision older than the one that is known is ignored.
func (t *Table) SetDenial(id protocol.DeviceID, denial Denial) (news bool) {
	t.change(id, func(d *Device) bool {
		if news = denial.Revision > d.Denial.Revision; news {
			d.Denial = denial
		}
		return false
	})
	return news
}

// ReplaceDenials records the whole deny list, whatever was known before, and
// returns the devices for which that is news.
func (t *Table) ReplaceDenials(all map[protocol.DeviceID]Denial) (changed []protocol.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range all {
		if t.devices[id] == nil {
			t.devices[id] = &Device{ID: id}
		}
	}
	for id, d := range t.devices {
		if now := all[id]; now.Revision != d.Denial.Revision {
			d.Denial = now
			changed = append(changed, id)
		}
	}
	return changed
}

// ReplaceDesired records the values of all desired states, whatever was known
// before. Where a revision has gone back the bucket has lost its past, and with
// it what devices answered.
func (t *Table) ReplaceDesired(all map[protocol.DeviceID]Desired) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range all {
		if t.devices[id] == nil {
			t.devices[id] = &Device{ID: id}
		}
	}
	for id, d := range t.devices {
		before, now := d.Desired, all[id]
		d.Desired = now
		if now.Revision > before.Revision || now.Revision == before.Revision && bytes.Equal(now.Document, before.Document) {
			continue
		}
		shares := maps.Clone(d.Shares)
		for uid, share := range shares {
			share.Since = 0
			shares[uid] = share
		}
		d.Shares = shares
	}
}

// SetRendered records what was rendered for a device and returns the UIDs of the
// deployments for which that is news.
func (t *Table) SetRendered(id protocol.DeviceID, r Rendered) (concerned []string) {
	t.change(id, func(d *Device) bool {
		for uid, share := range r.Shares {
			if before, was := d.Shares[uid]; !was || !before.equal(share) {
				concerned = append(concerned, uid)
			}
		}
		for uid := range d.Shares {
			if _, still := r.Shares[uid]; !still {
				concerned = append(concerned, uid)
			}
		}
		d.Rendered = r
		return false
	})
	return concerned
}

// Unrendered reports whether there is a device that has said what it is and for
// which nothing was rendered yet.
func (t *Table) Unrendered() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, d := range t.devices {
		if d.Info != nil && d.Shares == nil {
			return true
		}
	}
	return false
}

// Heartbeat records that a device was heard of now, and returns whether it was
// not taken for alive before.
func (t *Table) Heartbeat(id protocol.DeviceID, now time.Time) (news bool) {
	t.change(id, func(d *Device) bool {
		news = !d.Alive
		d.LastSeen, d.Alive, d.Known, d.heard = now, true, true, t.listened
		return false
	})
	return news
}

// Listening records from when on every device can be heard: that one was not heard
// before says nothing about it.
func (t *Table) Listening(from time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listening = from
}

// Listened records that devices could be heard for this long more.
func (t *Table) Listened(more time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listened += more
}

// Expire returns the devices that have just turned out to be missing, where all can be
// heard a spread after a renewal of the connection. A connection that is renewed before
// that, again and again, would excuse any silence: none is for longer than two renewals
// have it, counted while there was a connection.
func (t *Table) Expire(now time.Time, spread time.Duration) (missing []protocol.DeviceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, d := range t.devices {
		since := d.LastSeen
		if since.Before(t.listening) {
			since = t.listening
		}
		silent := now.Sub(since) > t.timeout || t.listened-d.heard > 2*(t.timeout+spread)
		if silent && (d.Alive || !d.Known) {
			d.Alive, d.Known = false, true
			missing = append(missing, id)
		}
	}
	return missing
}
