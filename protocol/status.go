package protocol

import (
	"fmt"
	"net/netip"
	"time"
)

// DeviceStatus is how a device is doing: the value of its key in
// [BucketStatus]. It is written when something changes, never as a tick.
type DeviceStatus struct {
	Version int      `json:"version"`
	Device  DeviceID `json:"device"`
	// Revision is the revision of the desired state that this status answers; 0
	// says that the device has seen none.
	Revision uint64 `json:"revision"`
	// Error says why the device could not take the desired state of that
	// revision at all (a document it refuses, say). The device then runs what it
	// ran before.
	Error string `json:"error,omitempty"`
	// Applied is the revision that the device follows where that is not Revision,
	// because that one is refused.
	Applied    uint64            `json:"applied,omitempty"`
	Containers []ContainerStatus `json:"containers,omitempty"`
}

// ContainerPhase is where a container is on its way.
type ContainerPhase string

// The phases of a container.
const (
	// ContainerPending is being pulled, created or started.
	ContainerPending ContainerPhase = "Pending"
	// ContainerRunning runs as it should.
	ContainerRunning ContainerPhase = "Running"
	// ContainerCompleted ended with status 0 and should not be started again.
	ContainerCompleted ContainerPhase = "Completed"
	// ContainerFailed could not be brought to run, or ended and stays so.
	ContainerFailed ContainerPhase = "Failed"
	// ContainerRolledBack did not work as it is desired, so that the last one that
	// did runs again in its place. The desired one is not tried again until it
	// changes or somebody asks for it.
	ContainerRolledBack ContainerPhase = "RolledBack"
)

// Done reports whether the phase is what the desired state asks for.
func (p ContainerPhase) Done() bool { return p == ContainerRunning || p == ContainerCompleted }

// ContainerStatus is how one container is doing.
type ContainerStatus struct {
	Name       string         `json:"name"`
	Deployment DeploymentRef  `json:"deployment"`
	Phase      ContainerPhase `json:"phase"`
	// Reason is one CamelCase word for programs, Message a sentence for people.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// ContainerID is the engine's id of the live container. It stays the same for
	// as long as nothing that was asked for changes.
	ContainerID string `json:"containerID,omitempty"`
	ImageID     string `json:"imageID,omitempty"`
	// ImageDigest is that of the image's manifest, such as "sha256:1f…": it stays
	// true when the tag moves.
	ImageDigest string `json:"imageDigest,omitempty"`
	ExitCode    int32  `json:"exitCode,omitempty"`
	// Restarts is how often the live container was started again. Above 10 it is
	// rounded down to its first digit, so that one that ends again and again does
	// not change its status each time.
	Restarts int32 `json:"restarts,omitempty"`
	// LastExit is how the container ended before it was started again; nil if it
	// never did.
	LastExit *Exit `json:"lastExit,omitempty"`
	// Replaced says what differed when the live container last took the place of
	// another; nil if it never did.
	Replaced *Replacement `json:"replaced,omitempty"`
	// Rollback says why the desired container was taken back; nil if it was not.
	Rollback *Rollback `json:"rollback,omitempty"`
}

// Exit is one end of a container.
type Exit struct {
	Code int32     `json:"code"`
	Time time.Time `json:"time"`
}

// Rollback is the record of a container that did not work and was taken back.
type Rollback struct {
	Time time.Time `json:"time"`
	// Reason is one CamelCase word for programs, Message a sentence for people.
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// ImageID and ImageDigest are those of the image that did not work.
	ImageID     string `json:"imageID,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
	// Log is the end of what the container said. No value of its variables is in it.
	Log string `json:"log,omitempty"`
}

// Replacement is the record of one container that took another's place.
type Replacement struct {
	Time  time.Time    `json:"time"`
	Drift []Difference `json:"drift"`
}

// Difference is one field in which a live container was not as desired.
type Difference struct {
	// Field is the field's path in [Container], such as "image" or "env.LEVEL".
	Field   string `json:"field"`
	Desired string `json:"desired"`
	Live    string `json:"live"`
}

// String is "field: live → desired".
func (d Difference) String() string { return fmt.Sprintf("%s: %q → %q", d.Field, d.Live, d.Desired) }

// DecodeDeviceStatus reads a status. Its error wraps [ErrInvalidDocument] or
// [ErrInvalidID].
func DecodeDeviceStatus(data []byte) (*DeviceStatus, error) {
	s := new(DeviceStatus)
	if err := decode("device status", data, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Encode renders the document, or says why it may not be sent.
func (s *DeviceStatus) Encode() ([]byte, error) { return encode("device status", s) }

// Validate reports the first thing that is wrong with the document.
func (s *DeviceStatus) Validate() error {
	if err := checkVersion(s.Version); err != nil {
		return err
	}
	if err := s.Device.Validate(); err != nil {
		return err
	}
	if len(s.Containers) > MaxContainers {
		return invalid("containers", "has %d entries, at most %d are allowed", len(s.Containers), MaxContainers)
	}
	if err := checkText("error", s.Error); err != nil {
		return err
	}
	for i := range s.Containers {
		if err := s.Containers[i].validate(); err != nil {
			return fmt.Errorf("containers[%d]: %w", i, err)
		}
	}
	return nil
}

func (c *ContainerStatus) validate() error {
	if err := checkLabel(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	switch c.Phase {
	case ContainerPending, ContainerRunning, ContainerCompleted, ContainerFailed, ContainerRolledBack:
	default:
		return invalid("phase", "%s is not known", quote(string(c.Phase)))
	}
	for _, text := range []struct{ field, value string }{
		{"deployment", c.Deployment.Namespace}, {"deployment", c.Deployment.Name}, {"deployment", c.Deployment.UID},
		{"reason", c.Reason}, {"message", c.Message}, {"containerID", c.ContainerID}, {"imageID", c.ImageID},
		{"imageDigest", c.ImageDigest},
	} {
		if err := checkText(text.field, text.value); err != nil {
			return err
		}
	}
	if c.Replaced != nil && len(c.Replaced.Drift) > MaxListLength {
		return invalid("replaced.drift", "has %d entries, at most %d are allowed", len(c.Replaced.Drift), MaxListLength)
	}
	if r := c.Rollback; r != nil {
		for _, text := range []struct{ field, value string }{
			{"rollback.reason", r.Reason}, {"rollback.message", r.Message}, {"rollback.log", r.Log},
			{"rollback.imageID", r.ImageID}, {"rollback.imageDigest", r.ImageDigest},
		} {
			if err := checkText(text.field, text.value); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkHostIP(s string) error {
	if s == "" {
		return nil
	}
	if _, err := netip.ParseAddr(s); err != nil {
		return invalid("ports: hostIP", "%s is not an address", quote(s))
	}
	return nil
}
