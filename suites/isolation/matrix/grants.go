package matrix

import "github.com/seatrial/seatrial/protocol"

// grant is what may be done with a bucket by others than the operator. Everything
// else is attacked and must be refused.
type grant struct {
	// deviceReads: a device reads its own key. deviceWrites: it writes it.
	deviceReads, deviceWrites bool
	// adminReads: an admin reads every key. Nobody but the operator and devices
	// writes.
	adminReads bool
}

// grants are what the promise allows. They are written down by hand and not taken
// from protocol's permissions: those are what is attacked. A bucket that is not
// here is the operator's alone.
func grants() map[protocol.Bucket]grant {
	return map[protocol.Bucket]grant{
		protocol.BucketDesired: {deviceReads: true, adminReads: true},
		protocol.BucketInfo:    {deviceWrites: true, adminReads: true},
		protocol.BucketStatus:  {deviceWrites: true, adminReads: true},
		protocol.BucketDenied:  {adminReads: true},
	}
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
