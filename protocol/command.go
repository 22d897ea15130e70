package protocol

import "fmt"

// Verb is what a command asks of a device.
type Verb string

// The commands.
const (
	// VerbPing asks whether the agent answers.
	VerbPing Verb = "ping"
	// VerbReconcile asks the agent to read its desired state and compare it with
	// what runs, now; the answer comes when that is done.
	VerbReconcile Verb = "reconcile"
)

// CommandRequest is the payload of a command.
type CommandRequest struct {
	Version int `json:"version"`
}

// CommandReply is what a device answers to a command.
type CommandReply struct {
	Version int      `json:"version"`
	Device  DeviceID `json:"device"`
	Verb    Verb     `json:"verb"`
	// Error says why the command was not carried out; empty if it was.
	Error string `json:"error,omitempty"`
	// TokenID is the id (jti) of the access token that the agent's present
	// connection was admitted with. It is no secret.
	TokenID string `json:"tokenID,omitempty"`
	// Revision is the revision of the desired state the device follows.
	Revision uint64 `json:"revision"`
	// Status is the device's status after the command; only reconcile sends it.
	Status *DeviceStatus `json:"status,omitempty"`
	// Changed names the containers that a reconcile created, replaced, started or
	// removed.
	Changed []string `json:"changed,omitempty"`
}

// DecodeCommandRequest reads a command's payload. Its error wraps
// [ErrInvalidDocument].
func DecodeCommandRequest(data []byte) (*CommandRequest, error) {
	r := new(CommandRequest)
	if err := decode("command", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the request.
func (r *CommandRequest) Encode() ([]byte, error) { return encode("command", r) }

// Validate reports the first thing that is wrong with the request.
func (r *CommandRequest) Validate() error { return checkVersion(r.Version) }

// DecodeCommandReply reads a device's answer. Its error wraps
// [ErrInvalidDocument] or [ErrInvalidID].
func DecodeCommandReply(data []byte) (*CommandReply, error) {
	r := new(CommandReply)
	if err := decode("command reply", data, r); err != nil {
		return nil, err
	}
	return r, nil
}

// Encode renders the answer, or says why it may not be sent.
func (r *CommandReply) Encode() ([]byte, error) { return encode("command reply", r) }

// Validate reports the first thing that is wrong with the answer.
func (r *CommandReply) Validate() error {
	if err := checkVersion(r.Version); err != nil {
		return err
	}
	if err := r.Device.Validate(); err != nil {
		return err
	}
	if r.Status != nil {
		if err := r.Status.Validate(); err != nil {
			return fmt.Errorf("status: %w", err)
		}
	}
	return nil
}
