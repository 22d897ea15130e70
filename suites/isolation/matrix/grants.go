package matrix

import (
	"slices"

	"github.com/seatrial/seatrial/protocol"
)

// grant is what may be done with a bucket by others than the operator. Everything
// else is attacked and must be refused.
type grant struct {
	// deviceReads: a device reads its own key. deviceWrites: it writes it.
	deviceReads, deviceWrites bool
	// devicesRead is the one key that every device reads, which is no device's; empty
	// if there is none.
	devicesRead protocol.DeviceID
	// adminReads: an admin reads every key. Nobody but the operator and devices
	// writes.
	adminReads bool
}

// grants are what the promise allows. They are written down by hand and not taken
// from protocol's permissions: those are what is attacked. A bucket that is not
// here is the operator's alone.
func grants() map[protocol.Bucket]grant {
	return map[protocol.Bucket]grant{
		protocol.BucketDesired:  {deviceReads: true, adminReads: true},
		protocol.BucketInfo:     {deviceWrites: true, adminReads: true},
		protocol.BucketStatus:   {deviceWrites: true, adminReads: true},
		protocol.BucketDenied:   {adminReads: true},
		protocol.BucketSettings: {devicesRead: protocol.SettingsKey},
	}
}

// othersKeys are the keys of the bucket that are not the attacker's and that
// somebody has a use for: the victim's, and the one that is there for all.
func othersKeys(t *Target, b protocol.Bucket) []protocol.DeviceID {
	if all := grants()[b].devicesRead; all != "" {
		return []protocol.DeviceID{t.Victim, all}
	}
	return []protocol.DeviceID{t.Victim}
}

// readable are what a device may read by a direct read, in the buckets' order.
func readable(id protocol.DeviceID) (all []own) {
	for _, b := range protocol.Buckets() {
		if grants()[b].deviceReads {
			all = append(all, own{b, id})
		}
		if key := grants()[b].devicesRead; key != "" {
			all = append(all, own{b, key})
		}
	}
	return all
}

// own is a key that a device has a right to.
type own struct {
	bucket protocol.Bucket
	key    protocol.DeviceID
}

// writable are the attacker's keys that it may write, in the buckets' order.
func writable(id protocol.DeviceID) (subjects []string) {
	for _, b := range protocol.Buckets() {
		if grants()[b].deviceWrites {
			subjects = append(subjects, b.Subject(id))
		}
	}
	return subjects
}

// may are the subjects that a party may publish and subscribe to, as patterns.
type may struct{ publish, subscribe []string }

// allowed are what the promise allows a party, written down by hand as [grants] are.
func allowed(who Party, t *Target) (all may) {
	all.subscribe = []string{inboxOf(who, t) + ".>"}
	switch who {
	case Admin, Observer:
		for _, b := range protocol.Buckets() {
			if grants()[b].adminReads {
				all.publish = append(all.publish, b.DirectGets())
			}
		}
		if who == Observer {
			all.subscribe = append(all.subscribe, protocol.AllDoorbells, protocol.AllHeartbeats)
			return all
		}
		all.publish, all.subscribe = append(all.publish, protocol.AllCommands), append(all.subscribe, protocol.AllDevices)
	case Service:
		all.publish = slices.Clone(all.subscribe) // itself
		all.subscribe = append(all.subscribe, protocol.AllHeartbeats)
		for _, b := range protocol.Buckets() {
			if grants()[b].deviceWrites {
				all.subscribe = append(all.subscribe, b.Subjects())
			}
		}
	default:
		all.publish = append(writable(t.Attacker), protocol.HeartbeatSubject(t.Attacker), "_INBOX_ADMIN.>")
		for _, own := range readable(t.Attacker) {
			all.publish = append(all.publish, own.bucket.DirectGet(own.key))
		}
		all.subscribe = append(all.subscribe, protocol.DoorbellSubject(t.Attacker), protocol.CommandSubject(t.Attacker, "*"))
	}
	return all
}
