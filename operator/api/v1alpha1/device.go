package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The conditions of a Device.
const (
	// DeviceReady is True while the device's heartbeats arrive.
	DeviceReady = "Ready"
	// DeviceAccepting is False while the device refuses its desired state as a
	// whole; the message is the device's.
	DeviceAccepting = "DesiredStateAccepted"
)

// The reasons of condition Ready.
const (
	ReasonHeartbeatReceived = "HeartbeatReceived"
	ReasonHeartbeatMissing  = "HeartbeatMissing"
	ReasonNeverSeen         = "NeverSeen"
)

// Device is one member of the fleet. The operator makes it when the device has
// said what it is; its name is the device's id.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=fdev
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Agent",type=string,JSONPath=`.status.facts.agentVersion`
// +kubebuilder:printcolumn:name="Podman",type=string,priority=1,JSONPath=`.status.facts.podmanVersion`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63",message="a device's name is its id: one DNS label of at most 63 characters"
type Device struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	Status DeviceStatus `json:"status,omitzero"`
}

// DeviceList is a list of devices.
//
// +kubebuilder:object:root=true
type DeviceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Device `json:"items"`
}

// DeviceStatus is what the operator knows of a device. It changes when something
// happens, not with every heartbeat.
type DeviceStatus struct {
	// +optional
	Facts DeviceFacts `json:"facts,omitzero"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeviceFacts are what the device's agent found on it.
type DeviceFacts struct {
	AgentVersion  string `json:"agentVersion,omitempty"`
	OS            string `json:"os,omitempty"`
	Kernel        string `json:"kernel,omitempty"`
	Architecture  string `json:"architecture,omitempty"`
	PodmanVersion string `json:"podmanVersion,omitempty"`
	Hostname      string `json:"hostname,omitempty"`
	BootID        string `json:"bootID,omitempty"`
	CPUs          int32  `json:"cpus,omitempty"`
	// MemoryBytes is the memory the device has, in bytes.
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
}
