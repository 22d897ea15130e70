package protocol

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// DeviceInfo is what a device is: the value of its key in [BucketInfo]. Its
// labels are what deployments select devices by.
type DeviceInfo struct {
	Version int               `json:"version"`
	Device  DeviceID          `json:"device"`
	Labels  map[string]string `json:"labels,omitempty"`
	Facts   Facts             `json:"facts"`
}

// Facts are what the agent found on its device.
type Facts struct {
	AgentVersion  string `json:"agentVersion,omitempty"`
	OS            string `json:"os,omitempty"`
	Kernel        string `json:"kernel,omitempty"`
	Architecture  string `json:"architecture,omitempty"`
	PodmanVersion string `json:"podmanVersion,omitempty"`
	Hostname      string `json:"hostname,omitempty"`
	BootID        string `json:"bootID,omitempty"`
	CPUs          int    `json:"cpus,omitempty"`
	// MemoryBytes is the memory the device has, in bytes.
	MemoryBytes uint64 `json:"memoryBytes,omitempty"`
}

// Heartbeat says that a device is alive. It is sent on [HeartbeatSubject] and
// not stored.
type Heartbeat struct {
	Version int      `json:"version"`
	Device  DeviceID `json:"device"`
	// Time is the device's clock when it sent the heartbeat.
	Time time.Time `json:"time"`
	// Sequence counts the heartbeats since the agent started, from 1.
	Sequence uint64 `json:"sequence"`
	// Revision is the revision of the desired state the device follows.
	Revision uint64 `json:"revision"`
}

// DecodeDeviceInfo reads a device's info. Its error wraps [ErrInvalidDocument]
// or [ErrInvalidID].
func DecodeDeviceInfo(data []byte) (*DeviceInfo, error) {
	i := new(DeviceInfo)
	if err := decode("device info", data, i); err != nil {
		return nil, err
	}
	return i, nil
}

// Encode renders the document, or says why it may not be sent.
func (i *DeviceInfo) Encode() ([]byte, error) { return encode("device info", i) }

// Validate reports the first thing that is wrong with the document.
func (i *DeviceInfo) Validate() error {
	if err := checkVersion(i.Version); err != nil {
		return err
	}
	if err := i.Device.Validate(); err != nil {
		return err
	}
	f := i.Facts
	for _, text := range []struct{ field, value string }{
		{"agentVersion", f.AgentVersion}, {"os", f.OS}, {"kernel", f.Kernel}, {"architecture", f.Architecture},
		{"podmanVersion", f.PodmanVersion}, {"hostname", f.Hostname}, {"bootID", f.BootID},
	} {
		if err := checkText("facts: "+text.field, text.value); err != nil {
			return err
		}
	}
	return ValidateLabels(i.Labels)
}

// DecodeHeartbeat reads a heartbeat. Its error wraps [ErrInvalidDocument] or
// [ErrInvalidID].
func DecodeHeartbeat(data []byte) (*Heartbeat, error) {
	h := new(Heartbeat)
	if err := decode("heartbeat", data, h); err != nil {
		return nil, err
	}
	return h, nil
}

// Encode renders the heartbeat, or says why it may not be sent.
func (h *Heartbeat) Encode() ([]byte, error) { return encode("heartbeat", h) }

// Validate reports the first thing that is wrong with the heartbeat.
func (h *Heartbeat) Validate() error {
	if err := checkVersion(h.Version); err != nil {
		return err
	}
	if h.Time.IsZero() {
		return invalid("time", "is missing")
	}
	return h.Device.Validate()
}

// MaxLabels is the most labels a device may carry.
const MaxLabels = 64

// The forms of a Kubernetes label, from
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set.
var (
	labelKey   = regexp.MustCompile(`^(([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

// maxLabelPrefix is the most characters before the '/' of a label's key: that of
// a DNS subdomain.
const maxLabelPrefix = 253

// ValidateLabels reports whether labels may stand on a Kubernetes resource.
func ValidateLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return invalid("labels", "has %d entries, at most %d are allowed", len(labels), MaxLabels)
	}
	for k, v := range labels {
		if prefix, _, _ := strings.Cut(k, "/"); len(prefix) > maxLabelPrefix || !labelKey.MatchString(k) {
			return fmt.Errorf("%w: labels: %s is not a label's key", ErrInvalidDocument, quote(k))
		}
		if !labelValue.MatchString(v) {
			return fmt.Errorf("%w: labels: %s is not a value for %q", ErrInvalidDocument, quote(v), k)
		}
	}
	return nil
}
