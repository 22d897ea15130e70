package v1alpha1

// Container is one container that should run.
type Container struct {
	// name is the container's name on the device.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-', with a letter or digit at both ends"
	Name string `json:"name"`
	// image is a reference that the device's engine can resolve.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`!self.startsWith('-') && !self.matches('[\\s\\x00]')`,message="must be a reference to an image, such as registry.example/app:1.2"
	Image string `json:"image"`
	// command replaces the image's entrypoint; without it that one is kept.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^[^\x00]*$`
	// +kubebuilder:validation:items:XValidation:rule="size(bytes(self)) <= 4096",message="must have at most 4096 bytes"
	Command []string `json:"command,omitempty"`
	// args replace the image's default arguments; without them those are kept.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^[^\x00]*$`
	// +kubebuilder:validation:items:XValidation:rule="size(bytes(self)) <= 4096",message="must have at most 4096 bytes"
	Args []string `json:"args,omitempty"`
	// env is added to the image's environment.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=256
	Env []EnvVar `json:"env,omitempty"`
	// ports are published on the device.
	// +optional
	// +listType=map
	// +listMapKey=hostPort
	// +listMapKey=protocol
	// +listMapKey=hostIP
	// +kubebuilder:validation:MaxItems=64
	Ports []Port `json:"ports,omitempty"`
	// volumes are mounted into the container.
	// +optional
	// +listType=map
	// +listMapKey=mountPath
	// +kubebuilder:validation:MaxItems=64
	Volumes []Volume `json:"volumes,omitempty"`
	// restartPolicy says when the container is started again after it ended.
	// +optional
	// +kubebuilder:default=Always
	// +kubebuilder:validation:Enum=Always;OnFailure;Never
	RestartPolicy string `json:"restartPolicy,omitempty"`
	// healthCheck says how to find out whether the container works. Without it, one
	// that keeps running does.
	// +optional
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	// name is the variable's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[=\\s\\x00]')`,message="must be the name of a variable: no '=' and no space"
	Name string `json:"name"`
	// value is the variable's value.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:Pattern=`^[^\x00]*$`
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 4096",message="must have at most 4096 bytes"
	Value string `json:"value,omitempty"`
}

// Port publishes a container's port on the device.
type Port struct {
	// containerPort is the port in the container.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ContainerPort int32 `json:"containerPort"`
	// hostPort is the port on the device.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	HostPort int32 `json:"hostPort"`
	// hostIP is the device's address to listen on; empty is every address.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="self == '' || isIP(self)",message="must be an IP address"
	HostIP string `json:"hostIP,omitempty"`
	// protocol is tcp or udp.
	// +optional
	// +kubebuilder:default=tcp
	// +kubebuilder:validation:Enum=tcp;udp
	Protocol string `json:"protocol,omitempty"`
}

// Volume mounts a named volume or a path of the device into the container.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.hostPath)",message="exactly one of name and hostPath must be set"
type Volume struct {
	// name is that of a volume which the device's engine keeps, and makes if it is
	// missing. It outlives the container.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits and '-', with a letter or digit at both ends"
	Name string `json:"name,omitempty"`
	// hostPath is a path of the device.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches('^/([^:,\n\x00]*[^:,\n\x00/])?$') && !self.matches('//|/\\.\\.?(/|$)')`,message="must be a clean absolute path without ':' and ','"
	HostPath string `json:"hostPath,omitempty"`
	// mountPath is where the container sees it.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches('^/[^:,\n\x00]*[^:,\n\x00/]$') && !self.matches('//|/\\.\\.?(/|$)')`,message="must be a clean absolute path below /, without ':' and ','"
	MountPath string `json:"mountPath"`
	// readOnly keeps the container from writing to it.
	// +optional
	ReadOnly bool `json:"readOnly,omitempty"`
}

// The restart policies.
const (
	RestartAlways    = "Always"
	RestartOnFailure = "OnFailure"
	RestartNever     = "Never"
)

// HealthCheck is how to find out whether a container works: by a command in it, a
// page of it, or a port of it. A new container that does not is taken back, and the
// one before runs again.
//
// +kubebuilder:validation:XValidation:rule="(has(self.command) && size(self.command) > 0 ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.tcp) ? 1 : 0) == 1",message="exactly one of command, http and tcp must be set"
type HealthCheck struct {
	// command is run in the container; status 0 says that it works.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=4096
	// +kubebuilder:validation:items:Pattern=`^[^\x00]*$`
	// +kubebuilder:validation:items:XValidation:rule="size(bytes(self)) <= 4096",message="must have at most 4096 bytes"
	Command []string `json:"command,omitempty"`
	// http asks for a page; an answer from 200 to 399 says that it works.
	// +optional
	HTTP *HTTPCheck `json:"http,omitempty"`
	// tcp connects to a port; that somebody listens says that it works.
	// +optional
	TCP *TCPCheck `json:"tcp,omitempty"`
	// intervalSeconds is the time between two checks; 30 if it is left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	IntervalSeconds int32 `json:"intervalSeconds,omitempty"`
	// timeoutSeconds is how long a check may take; 30 if it is left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	TimeoutSeconds int32 `json:"timeoutSeconds,omitempty"`
	// retries is how many checks in a row must fail; 3 if it is left out.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Retries int32 `json:"retries,omitempty"`
	// startPeriodSeconds is how long after its start a container's failures do not
	// count.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	StartPeriodSeconds int32 `json:"startPeriodSeconds,omitempty"`
}

// HTTPCheck asks for a page of a container.
type HTTPCheck struct {
	// port is the container's.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
	// path is the page's; / if it is left out.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^/([!-.0-~][!-~]*)?$`
	Path string `json:"path,omitempty"`
}

// TCPCheck connects to a port of a container.
type TCPCheck struct {
	// port is the container's.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}
