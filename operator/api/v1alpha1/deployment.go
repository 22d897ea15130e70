package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Finalizer keeps a Deployment until no document of any device names its
// containers. It does not wait for the devices themselves.
const Finalizer = "fleet.seatrial.dev/desired-state"

// ConditionReady is the condition that both kinds have: of a Device it says
// whether heartbeats arrive, of a Deployment whether every device that it
// matches has succeeded.
const ConditionReady = "Ready"

// The conditions of a Deployment.
const (
	// DeploymentReady is True when every matched device has succeeded and is still
	// heard, and there is at least one.
	DeploymentReady = ConditionReady
	// DeploymentProgressing is True while a device is pending or running.
	DeploymentProgressing = "Progressing"
	// DeploymentConflict is True while an older deployment holds the name of one
	// of the containers on a device that both select; that device keeps the
	// older one's.
	DeploymentConflict = "Conflict"
)

// DeploymentSpec is which containers should run on which devices.
type DeploymentSpec struct {
	// selector says on which devices, by their labels. As everywhere in
	// Kubernetes, an empty selector ({}) matches every device; it must be written
	// to mean that. One with keys or values that no label can have matches none.
	// +required
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, e.operator in ['In', 'NotIn', 'Exists', 'DoesNotExist'])",message="the operator of a match expression is In, NotIn, Exists or DoesNotExist"
	// +kubebuilder:validation:XValidation:rule="!has(self.matchExpressions) || self.matchExpressions.all(e, (e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",message="a match expression has values if its operator is In or NotIn, and none if it is Exists or DoesNotExist"
	Selector metav1.LabelSelector `json:"selector"`
	// containers are what should run. Their names are unique on a device: if an
	// older Deployment holds a name there, the younger one does not get it.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Containers []Container `json:"containers"`
}

// Aggregate counts devices. Matched is the sum of the others.
type Aggregate struct {
	// matched is how many devices the selector matches, those aside that are on the
	// deny list: they are kept out of the fleet.
	// +kubebuilder:validation:Minimum=0
	Matched int32 `json:"matched"`
	// pending is how many of them have not answered their present desired state.
	// +kubebuilder:validation:Minimum=0
	Pending int32 `json:"pending"`
	// running is how many of them have answered and still bring a container up.
	// +kubebuilder:validation:Minimum=0
	Running int32 `json:"running"`
	// succeeded is on how many of them every container runs or has completed.
	// +kubebuilder:validation:Minimum=0
	Succeeded int32 `json:"succeeded"`
	// failed is on how many of them a container failed or could not be asked for,
	// or which refused their desired state.
	// +kubebuilder:validation:Minimum=0
	Failed int32 `json:"failed"`
}

// Failure is why a device counts as failed.
type Failure struct {
	// device is the device's name.
	Device string `json:"device"`
	// container is the container's name; it is empty if the whole device failed.
	// +optional
	Container string `json:"container,omitempty"`
	// reason is one word for programs.
	Reason string `json:"reason"`
	// message is a sentence for people.
	// +optional
	Message string `json:"message,omitempty"`
}

// DeploymentStatus is how a Deployment is doing.
type DeploymentStatus struct {
	// observedGeneration is the generation of the spec that this status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// aggregate counts the devices that the selector matches.
	// +optional
	Aggregate Aggregate `json:"aggregate"`
	// failures names failing devices, the first ten in order of device and
	// container.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failures []Failure `json:"failures,omitempty"`
	// conditions are Ready, Progressing and Conflict.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Deployment asks for containers on every device that its selector matches.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=fdep
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.aggregate.matched`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.aggregate.succeeded`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.aggregate.failed`
// +kubebuilder:printcolumn:name="Pending",type=integer,priority=1,JSONPath=`.status.aggregate.pending`
// +kubebuilder:printcolumn:name="Running",type=integer,priority=1,JSONPath=`.status.aggregate.running`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Deployment struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`
	// spec is what should be.
	// +required
	Spec DeploymentSpec `json:"spec"`
	// status is what is.
	// +optional
	Status DeploymentStatus `json:"status,omitzero"`
}

// DeploymentList is a list of Deployments.
//
// +kubebuilder:object:root=true
type DeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Deployment `json:"items"`
}
