package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Finalizer keeps a Deployment until its containers have left the desired state
// of every device.
const Finalizer = "fleet.seatrial.dev/desired-state"

// The conditions of a Deployment.
const (
	// DeploymentReady is True when every matched device has succeeded, and there
	// is at least one.
	DeploymentReady = "Ready"
	// DeploymentProgressing is True while a device is pending or running.
	DeploymentProgressing = "Progressing"
	// DeploymentConflict is True while an older deployment holds the name of one
	// of the containers on a device that both select; that device keeps the
	// older one's.
	DeploymentConflict = "Conflict"
)

// Deployment says which containers should run on which devices.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=fdep
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Matched",type=integer,JSONPath=`.status.aggregate.matched`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.aggregate.succeeded`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.aggregate.failed`
// +kubebuilder:printcolumn:name="Pending",type=integer,priority=1,JSONPath=`.status.aggregate.pending`
// +kubebuilder:printcolumn:name="Running",type=integer,priority=1,JSONPath=`.status.aggregate.running`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Deployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec DeploymentSpec `json:"spec"`
	// +optional
	Status DeploymentStatus `json:"status,omitzero"`
}

// DeploymentList is a list of deployments.
//
// +kubebuilder:object:root=true
type DeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Deployment `json:"items"`
}

// DeploymentSpec is what should run where.
type DeploymentSpec struct {
	// selector chooses devices by their labels. As everywhere in Kubernetes, an
	// empty selector ({}) chooses every device; it must be written down to mean
	// that.
	Selector metav1.LabelSelector `json:"selector"`
	// containers run on every chosen device.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Containers []Container `json:"containers"`
}

// Container is one container on each chosen device.
//
// +kubebuilder:validation:XValidation:rule="!has(self.healthCheck)",message="healthCheck is reserved and not supported yet: leave it out"
type Container struct {
	// name is the container's name on the device, unique there.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// image is a reference, pulled if the device does not have it; references
	// under localhost/ are never pulled.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^[^-\s]\S*$`
	Image string `json:"image"`
	// command replaces the image's entrypoint.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Command []string `json:"command,omitempty"`
	// args replaces the image's default arguments.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Args []string `json:"args,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=128
	Env []EnvVar `json:"env,omitempty"`
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(p, self.exists_one(q, q.hostPort == p.hostPort && (has(q.protocol) ? q.protocol : 'tcp') == (has(p.protocol) ? p.protocol : 'tcp') && (has(q.hostIP) ? q.hostIP : '') == (has(p.hostIP) ? p.hostIP : '')))",message="a host port may be published once"
	Ports []Port `json:"ports,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:MaxItems=32
	Volumes []Volume `json:"volumes,omitempty"`
	// +optional
	// +kubebuilder:default=Always
	// +kubebuilder:validation:Enum=Always;OnFailure;Never
	RestartPolicy string `json:"restartPolicy,omitempty"`
	// healthCheck is reserved.
	// +optional
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[^=\s]+$`
	Name string `json:"name"`
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// Port publishes a container's port on the device.
type Port struct {
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ContainerPort int32 `json:"containerPort"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HostPort int32 `json:"hostPort"`
	// hostIP is the device's address to listen on; every address if left out.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self == '' || isIP(self)",message="must be an IP address"
	HostIP string `json:"hostIP,omitempty"`
	// +optional
	// +kubebuilder:default=tcp
	// +kubebuilder:validation:Enum=tcp;udp
	Protocol string `json:"protocol,omitempty"`
}

// Volume mounts a named volume or a path of the device.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.hostPath)",message="exactly one of name and hostPath must be given"
type Volume struct {
	// name is a named volume of the device, made when needed and never removed.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
	// hostPath is a path of the device.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^:,\n]*$`
	// +kubebuilder:validation:XValidation:rule="self == '/' || !(self.endsWith('/') || self.contains('//') || self.contains('/./') || self.contains('/../') || self.endsWith('/.') || self.endsWith('/..'))",message="must be a clean absolute path"
	HostPath string `json:"hostPath,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/[^:,\n]+$`
	// +kubebuilder:validation:XValidation:rule="!(self.endsWith('/') || self.contains('//') || self.contains('/./') || self.contains('/../') || self.endsWith('/.') || self.endsWith('/..'))",message="must be a clean absolute path"
	MountPath string `json:"mountPath"`
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
}

// HealthCheck is reserved: a container that has one is refused.
type HealthCheck struct {
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Command []string `json:"command,omitempty"`
}

// DeploymentStatus is how a deployment is doing.
type DeploymentStatus struct {
	// observedGeneration is the generation of the spec that the rest of the
	// status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// +optional
	Aggregate Aggregate `json:"aggregate"`
	// failures are some of the failing devices, by name, at most ten.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Failures []Failure `json:"failures,omitempty"`
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Aggregate counts devices. Matched is the sum of the other four.
type Aggregate struct {
	// matched devices have the labels that the selector asks for.
	Matched int32 `json:"matched"`
	// pending devices have not answered their present desired state yet.
	Pending int32 `json:"pending"`
	// running devices have answered and are at work on a container.
	Running int32 `json:"running"`
	// succeeded devices run every container as asked for.
	Succeeded int32 `json:"succeeded"`
	// failed devices could not, refuse the desired state, or keep an older
	// deployment's container of the same name.
	Failed int32 `json:"failed"`
}

// Failure is why a device failed.
type Failure struct {
	Device string `json:"device"`
	// +optional
	Container string `json:"container,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
