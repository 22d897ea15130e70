package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The conditions of a Device.
const (
	// DeviceReady is True while the device's heartbeats arrive.
	DeviceReady = ConditionReady
	// DeviceAccepting is False while the device refuses its desired state as a
	// whole; the message is the device's.
	DeviceAccepting = "DesiredStateAccepted"
	// DeviceComplete is False while a deployment that selects the device is not
	// in its desired state, or not with every container, as the broker has it.
	DeviceComplete = "DesiredStateComplete"
	// DeviceDiskPressure is True while the device is short of disk, and
	// DeviceMemoryPressure while it is short of memory, as it says itself.
	DeviceDiskPressure   = "DiskPressure"
	DeviceMemoryPressure = "MemoryPressure"
	// DeviceDecommissioned is True while the device is on the deny list, also by
	// hand: it has been thrown out and may not connect. It is missing on a device
	// that never was.
	DeviceDecommissioned = "Decommissioned"
)

// The reasons of condition Decommissioned of a Device.
const (
	// ReasonBySpec: the resource's spec says so.
	ReasonBySpec = "BySpec"
	// ReasonByHand: somebody put it on the deny list, as `seatrial decommission`
	// does, or an earlier resource of that name did.
	ReasonByHand = "ByHand"
	// ReasonPending: the spec says so, and the broker has not been told yet.
	ReasonPending = "Pending"
	// ReasonAdmitted: it was on the deny list and is no longer.
	ReasonAdmitted = "Admitted"
)

// The reasons of condition Ready of a Device.
const (
	// ReasonHeartbeatReceived: heartbeats arrive.
	ReasonHeartbeatReceived = "HeartbeatReceived"
	// ReasonHeartbeatMissing: none arrived for as long as the operator waits.
	ReasonHeartbeatMissing = "HeartbeatMissing"
	// ReasonNeverSeen: the device has never sent a heartbeat.
	ReasonNeverSeen = "NeverSeen"
)

// DeviceSpec is what somebody wants of a device, besides what runs on it.
type DeviceSpec struct {
	// decommissioned, while it is set, keeps the device out of the fleet: it is put
	// on the deny list, its connections are closed, and it may not connect whatever
	// its token says. What is known of it and asked of it stays. Taking the field
	// away lets the device back in.
	// +optional
	Decommissioned *Decommission `json:"decommissioned,omitempty"`
}

// Decommission is why a device is kept out.
type Decommission struct {
	// reason is a sentence for people.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason"`
}

// DeviceFacts are what a device found out about itself.
type DeviceFacts struct {
	// agentVersion is the version of the agent.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// os is the operating system.
	// +optional
	OS string `json:"os,omitempty"`
	// kernel is the version of the kernel.
	// +optional
	Kernel string `json:"kernel,omitempty"`
	// architecture is that of the processor.
	// +optional
	Architecture string `json:"architecture,omitempty"`
	// podmanVersion is the version of podman.
	// +optional
	PodmanVersion string `json:"podmanVersion,omitempty"`
	// hostname is what the device calls itself.
	// +optional
	Hostname string `json:"hostname,omitempty"`
	// bootID changes whenever the device is started.
	// +optional
	BootID string `json:"bootID,omitempty"`
	// cpus is how many processors there are.
	// +optional
	CPUs int32 `json:"cpus,omitempty"`
	// memoryBytes is the memory there is, in bytes.
	// +optional
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
	// diskBytes is the size of the file system with images and containers, in bytes.
	// +optional
	DiskBytes int64 `json:"diskBytes,omitempty"`
	// addresses are those by which others may reach the device.
	// +optional
	// +listType=atomic
	Addresses []string `json:"addresses,omitempty"`
	// clockOffsetMillis is by how much the device's clock is ahead of the fleet's, in
	// milliseconds, when that last changed.
	// +optional
	ClockOffsetMillis int64 `json:"clockOffsetMillis,omitempty"`
}

// DeviceStatus is what is known of a device. It changes when something happens,
// not with every heartbeat.
type DeviceStatus struct {
	// facts are what the device found out about itself.
	// +optional
	Facts DeviceFacts `json:"facts,omitzero"`
	// conditions are Ready, DesiredStateAccepted, DesiredStateComplete, DiskPressure,
	// MemoryPressure and Decommissioned.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Device is a machine with podman and an agent.
//
// Devices appear by themselves: the operator makes one from what a device says
// of itself, and keeps the labels that the device claims equal to its claim.
// Labels under other keys are left alone; keys that begin with
// admin.fleet.seatrial.dev/ no device can claim. A Device that is deleted comes back for
// as long as the device's info lies in the bucket device-info and the device is not
// on the deny list; else it stays deleted, and the device is asked to run nothing.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=fdev
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Decommissioned",type=string,JSONPath=`.status.conditions[?(@.type=="Decommissioned")].status`
// +kubebuilder:printcolumn:name="Agent",type=string,JSONPath=`.status.facts.agentVersion`
// +kubebuilder:printcolumn:name="Podman",type=string,priority=1,JSONPath=`.status.facts.podmanVersion`
// +kubebuilder:printcolumn:name="Architecture",type=string,priority=1,JSONPath=`.status.facts.architecture`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a device's name is its id: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends"
type Device struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what somebody wants of the device.
	// +optional
	Spec DeviceSpec `json:"spec,omitzero"`
	// status is what is known of the device.
	// +optional
	Status DeviceStatus `json:"status,omitzero"`
}

// DeviceList is a list of devices.
//
// +kubebuilder:object:root=true
type DeviceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Device `json:"items"`
}
