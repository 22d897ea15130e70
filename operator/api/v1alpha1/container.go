package v1alpha1

// Container is one container that should run.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secrets) || !has(self.files) || self.secrets.all(s, !has(s.path) || self.files.all(f, f.path != s.path))",message="a secret and a file are at the same place"
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
	// files are configuration files that the container reads.
	// +optional
	// +listType=map
	// +listMapKey=path
	// +kubebuilder:validation:MaxItems=32
	Files []File `json:"files,omitempty"`
	// secrets are values of Secrets in the Deployment's namespace. They reach the
	// device sealed for its own key.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Secrets []Secret `json:"secrets,omitempty"`
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
	// owner is whose the volume or the path itself is, as "uid:gid"; what lies in it
	// is left alone. A path with an owner or a mode is made if it is missing.
	// +optional
	// +kubebuilder:validation:MaxLength=21
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,8})$`
	Owner string `json:"owner,omitempty"`
	// mode is the mode of the volume or the path itself, in octal.
	// +optional
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:Pattern=`^0?[0-7]{3}$`
	Mode string `json:"mode,omitempty"`
	// relabel has it labelled for SELinux where that is enforced: z for all
	// containers, Z for this one alone.
	// +optional
	// +kubebuilder:validation:Enum=z;Z
	Relabel string `json:"relabel,omitempty"`
}

// File is a configuration file.
//
// +kubebuilder:validation:XValidation:rule="has(self.content) != has(self.configMap)",message="exactly one of content and configMap must be set"
// +kubebuilder:validation:XValidation:rule="self.onChange != 'none' || self.path.matches('^/[^/]+/[^/]+/')",message="with onChange none the file's folder is mounted whole, so it must lie two folders below / at least"
type File struct {
	// path is where the container sees the file.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches('^/[^:,\n\x00]*[^:,\n\x00/]$') && !self.matches('//|/\\.\\.?(/|$)')`,message="must be a clean absolute path below /, without ':' and ','"
	Path string `json:"path"`
	// content is the file's text.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 32768",message="must have at most 32768 bytes"
	Content *string `json:"content,omitempty"`
	// configMap is where the text is taken from.
	// +optional
	ConfigMap *KeyRef `json:"configMap,omitempty"`
	// mode is the file's mode, in octal.
	// +optional
	// +kubebuilder:default="0644"
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:Pattern=`^0?[0-7]{3}$`
	Mode string `json:"mode,omitempty"`
	// owner is whose the file is, as "uid:gid"; root's if it is left out.
	// +optional
	// +kubebuilder:validation:MaxLength=21
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,8})$`
	Owner string `json:"owner,omitempty"`
	// onChange says what a new text does to the container: restart starts it again,
	// and it stays the same container; none leaves it alone, and its program has to
	// look for itself. With none the file's folder is mounted, and hides what the
	// image has there.
	// +optional
	// +kubebuilder:default=restart
	// +kubebuilder:validation:Enum=restart;none
	OnChange string `json:"onChange,omitempty"`
}

// KeyRef names a key of a ConfigMap or Secret in the Deployment's namespace.
type KeyRef struct {
	// name is the resource's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
	// key is the key in it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// Secret is a value that only the device can read.
//
// +kubebuilder:validation:XValidation:rule="has(self.env) != has(self.path)",message="exactly one of env and path must be set"
// +kubebuilder:validation:XValidation:rule="has(self.path) || (!has(self.mode) && !has(self.owner))",message="a variable has no mode and no owner"
type Secret struct {
	// from is where the value is taken from.
	// +required
	From KeyRef `json:"from"`
	// env is the variable that holds the value.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule=`!self.matches('[=\\s\\x00]')`,message="must be the name of a variable: no '=' and no space"
	Env string `json:"env,omitempty"`
	// path is where the container sees the value as a file.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule=`self.matches('^/[^:,\n\x00]*[^:,\n\x00/]$') && !self.matches('//|/\\.\\.?(/|$)')`,message="must be a clean absolute path below /, without ':' and ','"
	Path string `json:"path,omitempty"`
	// mode is the file's mode, in octal; 0400 if it is left out.
	// +optional
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:Pattern=`^0?[0-7]{3}$`
	Mode string `json:"mode,omitempty"`
	// owner is whose the file is, as "uid:gid"; 0:0 if it is left out.
	// +optional
	// +kubebuilder:validation:MaxLength=21
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,8})$`
	Owner string `json:"owner,omitempty"`
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
// +kubebuilder:validation:XValidation:rule="!has(self.command) || size(self.command) == 0 || size(self.command[0]) > 0",message="command must begin with a program"
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
