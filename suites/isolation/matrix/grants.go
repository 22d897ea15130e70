package matrix

import "github.com/seatrial/seatrial/protocol"

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
