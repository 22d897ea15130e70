package ledger

import "time"

// DesiredBucket is the bucket of desired states in [Skipped] and [Forgot].
const DesiredBucket = "desired-state"

// Version is the version of the format in which histories are kept.
const Version = 1

// Event is one line of a history. Exactly one of the pointers is set.
type Event struct {
	// Observed is when whoever keeps the history noticed, by its own clock.
	Observed time.Time `json:"observed"`

	Begin   *Begin    `json:"begin,omitempty"`
	Write   *Write    `json:"write,omitempty"`
	Desired *Revision `json:"desired,omitempty"`
	Status  *Status   `json:"status,omitempty"`
	Beat    *Beat     `json:"beat,omitempty"`
	Look    *Look     `json:"look,omitempty"`
	Report  *Report   `json:"report,omitempty"`
	Fault   *Happened `json:"fault,omitempty"`
	Skipped *Skipped  `json:"skipped,omitempty"`
	Forgot  *Forgot   `json:"forgot,omitempty"`
	End     *End      `json:"end,omitempty"`
}

// Begin is the first event: what is known before anything happens.
type Begin struct {
	Version int    `json:"version"`
	Seed    uint64 `json:"seed"`
	// Seconds is how long the fleet is to be disturbed.
	Seconds float64 `json:"seconds"`
	// Pace is that of [Settings].
	Pace    int      `json:"pace,omitempty"`
	Devices []string `json:"devices"`
}

// Outcome is what became of a write.
type Outcome string

// The outcomes of a write.
const (
	// Acknowledged is a write that the API server has accepted.
	Acknowledged Outcome = "acknowledged"
	// Refused is a write that the API server did not accept: it never was.
	Refused Outcome = "refused"
	// Unknown is a write whose answer was not heard. It may have happened.
	Unknown Outcome = "unknown"
)

// Write is one change of a deployment, as one writer makes them one after another.
type Write struct {
	// Number counts the writes of all deployments from 1.
	Number int `json:"number"`
	// Deployment is the name of the deployment, which is never used again.
	Deployment string `json:"deployment"`
	// Generation is what the API server numbered it with; 0 if that is not known.
	Generation int64 `json:"generation,omitempty"`
	// Began is when the request was sent; that of the event is when it was answered.
	Began   time.Time `json:"began"`
	Outcome Outcome   `json:"outcome"`
	// Gone says that the deployment was deleted.
	Gone bool `json:"gone,omitempty"`
	// Wants are the containers that each device should run from now on because of
	// this deployment. A device that is missing should run none.
	Wants map[string]Levels `json:"wants,omitempty"`
}

// Levels are containers by name, with the level that each should run at: whatever
// distinguishes two versions of what is asked for.
type Levels map[string]string

// Wanted is one container of a desired state.
type Wanted struct {
	Name       string `json:"name"`
	Deployment string `json:"deployment"`
	Level      string `json:"level"`
}

// Revision is one value of a device's key, written by the operator.
type Revision struct {
	// Device is the device of the key, Of the one that the document names; empty if
	// the key was deleted, which asks for nothing.
	Device string `json:"device"`
	Of     string `json:"of,omitempty"`
	// Number is what the bucket numbered it with, Stored the broker's time of it.
	Number uint64    `json:"revision"`
	Stored time.Time `json:"stored"`
	// Digest is that of all that was written, of which Containers are a part.
	Digest string `json:"digest,omitempty"`
	// RollbackFrom marks it as a way back for a device that has applied a revision up
	// to this one; 0 if it is none.
	RollbackFrom uint64 `json:"rollbackFrom,omitempty"`
	// Final says that it is what the key held when it was read once more at the end.
	Final      bool     `json:"final,omitempty"`
	Containers []Wanted `json:"containers,omitempty"`
}

// Runs is what a device says of one container.
type Runs struct {
	Name       string `json:"name"`
	Deployment string `json:"deployment"`
	// Done says that it runs as it should, as far as the device knows.
	Done bool `json:"done,omitempty"`
	// Phase is the device's own word for how it does, with the reason.
	Phase string `json:"phase"`
	ID    string `json:"id,omitempty"`
}

// Status is one value of a device's status.
type Status struct {
	// Device is the device of the key, Of the one that the document names.
	Device string `json:"device"`
	Of     string `json:"of"`
	// Sequence is the number of this status in its bucket, Stored the broker's time.
	Sequence uint64    `json:"sequence"`
	Stored   time.Time `json:"stored"`
	// Digest is that of all that was written, of which the rest is a part.
	Digest string `json:"digest,omitempty"`
	// Revision is the revision of the desired state that it answers.
	Revision uint64 `json:"revision"`
	// Error is why the device refuses that revision.
	Error string `json:"error,omitempty"`
	// Final says that it is what the key held when it was read once more at the end.
	Final      bool   `json:"final,omitempty"`
	Containers []Runs `json:"containers,omitempty"`
}

// Beat is one heartbeat.
type Beat struct {
	// Device is the device of the subject, Of the one that the message names.
	Device string `json:"device"`
	Of     string `json:"of"`
	// Time is the device's own time.
	Time     time.Time `json:"time"`
	Sequence uint64    `json:"sequence"`
	Revision uint64    `json:"revision"`
}

// Found is a container that podman shows on a device.
type Found struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Owner is the device that it was made for.
	Owner   string    `json:"owner"`
	Level   string    `json:"level"`
	State   string    `json:"state"`
	Started time.Time `json:"started"`
}

// Running is the state of a container that runs.
const Running = "running"

// Look is what podman shows on a device, whatever the agent says.
type Look struct {
	Device     string  `json:"device"`
	Containers []Found `json:"containers,omitempty"`
}

// Report is the status of a deployment.
type Report struct {
	Deployment string `json:"deployment"`
	Generation int64  `json:"generation"`
	// Observed is the generation that the counts are about.
	Observed  int64 `json:"observedGeneration"`
	Matched   int   `json:"matched"`
	Succeeded int   `json:"succeeded"`
}

// Happened is the begin or the end of a fault.
type Happened struct {
	Kind Kind `json:"kind"`
	// Target is the device that it happens to; empty for what there is one of.
	Target string `json:"target,omitempty"`
	// Over says that it has ended.
	Over bool `json:"over,omitempty"`
}

// Skipped says that revisions of a bucket from First to Last were not seen: each was
// followed by another one of its key before it could be.
type Skipped struct {
	Bucket string `json:"bucket"`
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
}

// Forgot says that a bucket, whose last revision is Last, does not have one any more that
// was seen before: it ends before that, or has given the number to another value.
type Forgot struct {
	Bucket string `json:"bucket"`
	Seen   uint64 `json:"seen"`
	Last   uint64 `json:"last"`
}

// End is the last event: faults are over, the fleet had its time to settle, and what
// stands was read once more. Without it nothing is said about where a history led.
type End struct {
	// Waited is how long, in seconds, the fleet took or was given to settle.
	Waited float64 `json:"waited"`
}
