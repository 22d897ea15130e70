package protocol

import (
	"fmt"
	"net/netip"
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
	// Pressures are those that the device watches, under pressure or not.
	Pressures []Pressure `json:"pressures,omitempty"`
	// SealingKey is the X25519 public key that secrets for the device are sealed
	// to. A device that gives none gets no secrets.
	SealingKey []byte `json:"sealingKey,omitempty"`
}

// The pressures of a device, by the names that Kubernetes has for a node's.
const (
	DiskPressure   = "DiskPressure"
	MemoryPressure = "MemoryPressure"
)

// Pressure says whether a device is short of something.
type Pressure struct {
	// Type is [DiskPressure] or [MemoryPressure].
	Type   string `json:"type"`
	Active bool   `json:"active"`
	// Message says for people what was measured when that last changed.
	Message string `json:"message,omitempty"`
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
	// DiskBytes is the size, in bytes, of the file system in which podman keeps
	// images and containers.
	DiskBytes uint64 `json:"diskBytes,omitempty"`
	// Addresses are those by which others may reach the device, in their order.
	Addresses []string `json:"addresses,omitempty"`
	// ClockOffsetMillis is by how much the device's clock is ahead of the fleet's,
	// in milliseconds; what is less than can be told apart from the way there is 0.
	ClockOffsetMillis int64 `json:"clockOffsetMillis,omitempty"`
}

// MaxAddresses is the most addresses that a device may name.
const MaxAddresses = 16

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
	if len(f.Addresses) > MaxAddresses {
		return invalid("facts: addresses", "has %d entries, at most %d are allowed", len(f.Addresses), MaxAddresses)
	}
	for _, address := range f.Addresses {
		if _, err := netip.ParseAddr(address); err != nil {
			return invalid("facts: addresses", "%s is not an address", quote(address))
		}
	}
	seen := make(map[string]bool, len(i.Pressures))
	for _, p := range i.Pressures {
		if p.Type != DiskPressure && p.Type != MemoryPressure {
			return invalid("pressures", "%s is not known", quote(p.Type))
		}
		if seen[p.Type] {
			return invalid("pressures", "names %s twice", p.Type)
		}
		seen[p.Type] = true
		if err := checkText("pressures: message", p.Message); err != nil {
			return err
		}
	}
	if n := len(i.SealingKey); n != 0 && n != SealingKeySize {
		return invalid("sealingKey", "has %d bytes, a key has %d", n, SealingKeySize)
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

// AdminLabelPrefix begins the keys of labels that administrators alone give a Device,
// so that deployments can select by what no device says of itself.
const AdminLabelPrefix = "admin.fleet.seatrial.dev/"

// ValidateLabels reports whether a device may claim labels: those that may stand on a
// Kubernetes resource, but for the administrators'.
func ValidateLabels(labels map[string]string) error {
	if len(labels) > MaxLabels {
		return invalid("labels", "has %d entries, at most %d are allowed", len(labels), MaxLabels)
	}
	for k, v := range labels {
		if prefix, _, _ := strings.Cut(k, "/"); len(prefix) > maxLabelPrefix || !labelKey.MatchString(k) {
			return fmt.Errorf("%w: labels: %s is not a label's key", ErrInvalidDocument, quote(k))
		}
		if strings.HasPrefix(k, AdminLabelPrefix) {
			return fmt.Errorf("%w: labels: %s is for administrators to set on the Device", ErrInvalidDocument, quote(k))
		}
		if !labelValue.MatchString(v) {
			return fmt.Errorf("%w: labels: %s is not a value for %q", ErrInvalidDocument, quote(v), k)
		}
	}
	return nil
}
