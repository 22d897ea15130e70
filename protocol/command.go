package protocol

import (
	"fmt"
	"slices"
)

// Verb is what a command asks of a device.
type Verb string

// The commands.
const (
	// VerbPing asks whether the agent answers.
	VerbPing Verb = "ping"
	// VerbReconcile asks the agent to read its desired state and compare it with
	// what runs, now; the answer comes when that is done.
	VerbReconcile Verb = "reconcile"
	// VerbInspect asks what a workload's container really is, or without a
	// workload how all of them are doing.
	VerbInspect Verb = "inspect"
	// VerbLogs asks for the last lines that a workload's container wrote, and for
	// those that it will write. It is answered by a series of replies, see
	// [LogChunk].
	VerbLogs Verb = "logs"
	// VerbRestart asks that a workload's container be stopped and started again.
	VerbRestart Verb = "restart"
	// VerbRetry asks that a workload be tried again now that was taken back, failed or
	// waits for its next attempt; the answer does not wait for how that goes.
	VerbRetry Verb = "retry"
	// VerbRotate asks that the device replace its key with one that it makes now; the
	// answer does not wait for that.
	VerbRotate Verb = "rotate"
	// VerbWipe asks that the device leave its fleet: its keys and its desired state
	// are removed, and if that is asked for, its containers. There is no way back.
	VerbWipe Verb = "wipe"
)

// Verbs are all commands.
func Verbs() []Verb {
	return []Verb{VerbPing, VerbReconcile, VerbInspect, VerbLogs, VerbRestart, VerbRetry, VerbRotate, VerbWipe}
}

// MaxCommandSize is the most bytes the payload of a command may have.
const MaxCommandSize = 4 << 10

// The bounds on how many past lines a command may ask for.
const (
	DefaultTail = 100
	MaxTail     = 1000
)

// CommandRequest is the payload of a command.
type CommandRequest struct {
	Version int `json:"version"`
	// Workload names the container that the command is about.
	Workload string `json:"workload,omitempty"`
	// Tail is how many past lines of a log are asked for; 0 is [DefaultTail].
	Tail int `json:"tail,omitempty"`
	// Follow asks for the lines to come, too, until nobody listens any more.
	Follow bool `json:"follow,omitempty"`
	// Workloads has a wipe remove the containers, too, and what was made for them:
	// their secrets and their volumes.
	Workloads bool `json:"workloads,omitempty"`
}

// DecodeCommandRequest reads a command's payload. Its error wraps
// [ErrInvalidDocument] or [ErrInvalidID].
func DecodeCommandRequest(data []byte) (*CommandRequest, error) {
	if len(data) > MaxCommandSize {
		return nil, fmt.Errorf("command: %w: it has %d bytes, at most %d are allowed", ErrInvalidDocument, len(data), MaxCommandSize)
	}
	r := new(CommandRequest)
	if err := decode("command", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the request.
func (r *CommandRequest) Encode() ([]byte, error) { return encode("command", r) }

// Validate reports the first thing that is wrong with the request.
func (r *CommandRequest) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if r.Workload != "" {
		if err := checkLabel(r.Workload); err != nil {
			return fmt.Errorf("workload: %w", err)
		}
	}
	if r.Tail < 0 || r.Tail > MaxTail {
		return invalid("tail", "is %d, must be from 0 to %d", r.Tail, MaxTail)
	}
	return nil
}

// ValidateFor reports whether the request is one for the verb. A verb that is not
// known and what the verb has no use for are refused, as half a command that was
// understood is another command.
func (r *CommandRequest) ValidateFor(verb Verb) error {
	if !slices.Contains(Verbs(), verb) {
		return fmt.Errorf("%w: command %s is not known; known are %q", ErrInvalidDocument, quote(string(verb)), Verbs())
	}
	if (r.Tail != 0 || r.Follow) && verb != VerbLogs {
		return invalid("tail and follow", "are for %s alone, not for %s", VerbLogs, verb)
	}
	if r.Workloads && verb != VerbWipe {
		return invalid("workloads", "is for %s alone, not for %s", VerbWipe, verb)
	}
	switch verb {
	case VerbInspect:
	case VerbLogs, VerbRestart, VerbRetry:
		if r.Workload == "" {
			return invalid("workload", "is missing: %s is about one", verb)
		}
	default:
		if r.Workload != "" {
			return invalid("workload", "is given, but %s is about none", verb)
		}
	}
	return nil
}
