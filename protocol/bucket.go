package protocol

import "time"

// Bucket is the name of a key-value bucket in account STATE. Its keys are
// device ids, but for [BucketSettings].
type Bucket string

// The buckets of a fleet.
const (
	// BucketDesired holds what each device should run. The operator writes it.
	BucketDesired Bucket = "desired-state"
	// BucketInfo holds what each device is. The device writes it.
	BucketInfo Bucket = "device-info"
	// BucketStatus holds how each device is doing. The device writes it.
	BucketStatus Bucket = "device-status"
	// BucketDenied holds who may not connect, whatever the token says; see
	// [Denial]. The operator and people who decommission by hand write it.
	BucketDenied Bucket = "denied"
	// BucketSettings holds how all devices behave together: one document, under
	// [SettingsKey]. The operator writes it.
	BucketSettings Bucket = "fleet-settings"
)

// SettingsKey is the one key of [BucketSettings]. It is of the form of a device's
// id, as all keys are, and has nothing to do with a device that may be called so.
const SettingsKey DeviceID = "fleet"

// Buckets are all buckets, in the order in which they are made.
func Buckets() []Bucket { return append(DeviceBuckets(), BucketSettings) }

// DeviceBuckets are those whose keys are device ids.
func DeviceBuckets() []Bucket { return []Bucket{BucketDesired, BucketInfo, BucketStatus, BucketDenied} }

// MaxDocumentSize is the most bytes a document in a bucket may have, headers
// included. It bounds what a hostile device can make the broker keep.
const MaxDocumentSize = 64 << 10

// Stream is the name of the JetStream stream under the bucket.
func (b Bucket) Stream() string { return "KV_" + string(b) }

// Subject is where the bucket's value for id is written.
func (b Bucket) Subject(id DeviceID) string { return "$KV." + string(b) + "." + string(id) }

// Subjects matches the subjects of all keys of the bucket.
func (b Bucket) Subjects() string { return "$KV." + string(b) + ".*" }

// DirectGet is where the bucket's value for id is read with one request, without
// a consumer. The answer's header [HeaderSubject] names the key.
func (b Bucket) DirectGet(id DeviceID) string { return b.directGet() + string(id) }

// DirectGets matches the read subjects of all keys of the bucket.
func (b Bucket) DirectGets() string { return b.directGet() + "*" }

// directGets begins every subject of a direct read.
const directGets = "$JS.API.DIRECT.GET."

func (b Bucket) directGet() string {
	return directGets + b.Stream() + ".$KV." + string(b) + "."
}

// DirectNext is where the bucket's values are read one after the other, each as
// the first at or after a sequence. It names no key: who may use it may read all.
func (b Bucket) DirectNext() string { return "$JS.API.DIRECT.GET." + b.Stream() }

// StreamSettings is how a stream must be configured, in the words of
// JetStream's stream configuration. Whoever creates the stream sets exactly
// this. Rollup is off and deletion and purge are denied because each would let
// one message wipe the keys of others.
//
// Nobody sets the header Nats-Msg-Id on a write of a key: a stream remembers ids
// across keys, so a device that guessed one could have another's write taken for a
// repetition of its own and dropped.
type StreamSettings struct {
	Name              string
	Subjects          []string
	MaxMsgsPerSubject int64
	MaxMsgSize        int32
	AllowDirect       bool
	AllowRollup       bool
	DenyDelete        bool
	DenyPurge         bool
	DiscardNew        bool
	// MaxAge, MaxBytes and MaxMsgs bound the stream as a whole; 0 is no bound.
	MaxAge   time.Duration
	MaxBytes int64
	MaxMsgs  int64
	// Duplicates is for how long the stream remembers the ids of messages, each of
	// which may be as long as a document and lies in the broker's memory; 0 is what
	// the server does by itself, two minutes.
	Duplicates time.Duration
	// RepublishSource and RepublishDestination ring the doorbell, of a device or of
	// the callouts; both are empty for a bucket without one. Only headers are
	// republished.
	RepublishSource      string
	RepublishDestination string
}

// leastDuplicates is the shortest time for which a server remembers ids.
const leastDuplicates = 100 * time.Millisecond

// Settings is the configuration of the bucket's stream.
func (b Bucket) Settings() StreamSettings {
	s := StreamSettings{
		Name:              b.Stream(),
		Subjects:          []string{b.Subjects()},
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        MaxDocumentSize,
		AllowDirect:       true,
		DenyDelete:        true,
		DenyPurge:         true,
		DiscardNew:        true,
		Duplicates:        leastDuplicates,
	}
	switch b {
	case BucketDesired:
		s.RepublishSource, s.RepublishDestination = b.Subjects(), "device.{{wildcard(1)}}.desired"
	case BucketDenied:
		s.RepublishSource, s.RepublishDestination = b.Subjects(), "denied.{{wildcard(1)}}"
	}
	return s
}
