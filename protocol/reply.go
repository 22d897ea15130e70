package protocol

import (
	"fmt"
	"time"
)

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
	// Status is the device's status after the command; only reconcile, and inspect
	// without a workload, send it.
	Status *DeviceStatus `json:"status,omitempty"`
	// Changed names the containers that a reconcile created, replaced, started or
	// removed.
	Changed []string `json:"changed,omitempty"`
	// Container is what inspect found.
	Container *ContainerDetail `json:"container,omitempty"`
	// Log is one part of what logs answers.
	Log *LogChunk `json:"log,omitempty"`
}

// ContainerDetail is a live container as its engine shows it. It names variables
// without their values, which may be secrets.
type ContainerDetail struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Image   string `json:"image"`
	ImageID string `json:"imageID"`
	// State is the engine's word, such as "running" or "exited".
	State     string    `json:"state"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	ExitCode  int32     `json:"exitCode,omitempty"`
	// Restarts is how often the engine started the container again by itself.
	Restarts int32 `json:"restarts,omitempty"`
	// Error is the engine's, about the last start.
	Error string `json:"error,omitempty"`
	// Variables are the names of the environment's variables, in their order.
	Variables []string `json:"variables,omitempty"`
	// Mounts are like "data:/data:rw", Ports like "127.0.0.1:8080->80/tcp".
	Mounts []string `json:"mounts,omitempty"`
	Ports  []string `json:"ports,omitempty"`
	// Network is the network mode, RestartPolicy the engine's word for it.
	Network       string `json:"network,omitempty"`
	RestartPolicy string `json:"restartPolicy,omitempty"`
	// Deployment is what the container was made for.
	Deployment DeploymentRef `json:"deployment"`
}

// LogChunk is one of the replies to a command for logs. Their sequence begins with
// 1 and has no gap, so that whoever reads them sees if one was lost. One without
// lines says that the container is silent, and comes every [LogHeartbeat].
type LogChunk struct {
	Sequence uint64    `json:"sequence"`
	Lines    []LogLine `json:"lines,omitempty"`
	// End is set in the last chunk; the reply's Error says why, if it is not that
	// there are no more lines.
	End bool `json:"end,omitempty"`
}

// LogHeartbeat is how long a device that follows a log is silent at most.
const LogHeartbeat = 5 * time.Second

// LogLine is one line of a container's log.
type LogLine struct {
	// Stream is "stdout" or "stderr".
	Stream string `json:"stream"`
	// Text is the line without its end, cut at [MaxStringLength] bytes. What is not
	// UTF-8 in it is replaced.
	Text string `json:"text"`
}

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
	if r.Container != nil {
		if err := checkLabel(r.Container.Name); err != nil {
			return fmt.Errorf("container: name: %w", err)
		}
	}
	if r.Log != nil {
		return r.Log.validate()
	}
	return nil
}

func (c *LogChunk) validate() error {
	if c.Sequence == 0 {
		return invalid("log: sequence", "is missing")
	}
	for i, line := range c.Lines {
		if line.Stream != "stdout" && line.Stream != "stderr" {
			return invalid("log: lines", "the stream of line %d is %s", i, quote(line.Stream))
		}
		if len(line.Text) > MaxStringLength {
			return invalid("log: lines", "line %d has %d bytes, at most %d are allowed", i, len(line.Text), MaxStringLength)
		}
	}
	return nil
}
