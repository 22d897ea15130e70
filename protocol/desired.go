package protocol

import (
	"fmt"
	"path"
	"strings"
)

// DesiredState is what one device should run: the value of its key in
// [BucketDesired]. Its version is the revision the bucket gave it.
//
// A deleted key means that the device should run nothing. A key that never was
// means that nobody has decided, and the device leaves things as they are: an
// empty broker must not empty a fleet.
type DesiredState struct {
	Version    int         `json:"version"`
	Device     DeviceID    `json:"device"`
	Containers []Container `json:"containers"`
	// RollbackFrom marks the document as a rollback: a device that has applied a
	// revision up to this one takes it although its own revision is lower. Without
	// it a lower revision is refused, as that of a broker that lost its memory or
	// was brought back from an old copy.
	RollbackFrom uint64 `json:"rollbackFrom,omitempty"`
}

// DeploymentRef names the Deployment resource that a container comes from.
type DeploymentRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
}

// String is namespace/name.
func (r DeploymentRef) String() string { return r.Namespace + "/" + r.Name }

// Container is one container that should run. Its name is unique on the device.
type Container struct {
	Name       string        `json:"name"`
	Deployment DeploymentRef `json:"deployment"`
	Image      string        `json:"image"`
	// Command replaces the image's entrypoint, Args its default arguments, as in
	// a Kubernetes container; empty keeps the image's.
	Command       []string      `json:"command,omitempty"`
	Args          []string      `json:"args,omitempty"`
	Env           []EnvVar      `json:"env,omitempty"`
	Ports         []Port        `json:"ports,omitempty"`
	Volumes       []Volume      `json:"volumes,omitempty"`
	Files         []File        `json:"files,omitempty"`
	Secrets       []Secret      `json:"secrets,omitempty"`
	RestartPolicy RestartPolicy `json:"restartPolicy"`
	// HealthCheck is nil if that the container runs is all that is asked. It is
	// the agent's to carry out, so a change of it leaves the container alone.
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Port publishes a container's port on the device.
type Port struct {
	ContainerPort uint16 `json:"containerPort"`
	HostPort      uint16 `json:"hostPort"`
	// HostIP is the device's address to listen on; empty is every address.
	HostIP string `json:"hostIP,omitempty"`
	// Protocol is "tcp" or "udp".
	Protocol string `json:"protocol"`
}

// Volume mounts a named volume or a path of the device into the container.
// Exactly one of Name and HostPath is set.
type Volume struct {
	Name      string `json:"name,omitempty"`
	HostPath  string `json:"hostPath,omitempty"`
	MountPath string `json:"mountPath"`
	ReadOnly  bool   `json:"readOnly,omitempty"`
	// Owner is "uid:gid" and Mode octal, such as "0750", of what is mounted itself:
	// the device sees to them and leaves alone what is in it. Empty is as it is. A
	// path of the device that has one of them is made if it is missing.
	Owner   string  `json:"owner,omitempty"`
	Mode    string  `json:"mode,omitempty"`
	Relabel Relabel `json:"relabel,omitempty"`
}

// RestartPolicy says when an ended container is started again, in the words of
// a Kubernetes pod.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "Always"
	RestartOnFailure RestartPolicy = "OnFailure"
	RestartNever     RestartPolicy = "Never"
)

// Bounds on a desired state. They are far above what a device runs and far
// below what would hurt it.
const (
	MaxContainers   = 64
	MaxListLength   = 256
	MaxStringLength = 4096
)

// DecodeDesiredState reads a desired state. Its error wraps
// [ErrInvalidDocument] or [ErrInvalidID].
func DecodeDesiredState(data []byte) (*DesiredState, error) {
	d := new(DesiredState)
	if err := decode("desired state", data, d); err != nil {
		return nil, err
	}
	return d, nil
}

// Encode renders the document, or says why it may not be sent.
func (d *DesiredState) Encode() ([]byte, error) { return encode("desired state", d) }

// Validate reports the first thing that is wrong with the document.
func (d *DesiredState) Validate() error {
	if err := checkVersion(d.Version); err != nil {
		return err
	}
	if err := d.Device.Validate(); err != nil {
		return err
	}
	if len(d.Containers) > MaxContainers {
		return invalid("containers", "has %d entries, at most %d are allowed", len(d.Containers), MaxContainers)
	}
	seen := make(map[string]bool, len(d.Containers))
	for i := range d.Containers {
		c := &d.Containers[i]
		if err := c.Validate(); err != nil {
			return fmt.Errorf("containers[%d] %s: %w", i, quote(c.Name), err)
		}
		if seen[c.Name] {
			return invalid("containers", "names %q twice", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}

// Validate reports the first thing that is wrong with the container.
func (c *Container) Validate() error {
	if err := checkLabel(c.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if c.Deployment.Namespace == "" || c.Deployment.Name == "" || c.Deployment.UID == "" {
		return invalid("deployment", "must have namespace, name and uid")
	}
	if err := checkText("image", c.Image); err != nil {
		return err
	}
	if c.Image == "" || strings.HasPrefix(c.Image, "-") || strings.ContainsAny(c.Image, " \t\r\n") {
		return invalid("image", "%s is not a reference", quote(c.Image))
	}
	for _, list := range []struct {
		field string
		items []string
	}{{"command", c.Command}, {"args", c.Args}} {
		if err := checkList(list.field, list.items); err != nil {
			return err
		}
	}
	if err := checkEnv(c.Env); err != nil {
		return err
	}
	if err := checkPorts(c.Ports); err != nil {
		return err
	}
	if err := checkData(c); err != nil {
		return err
	}
	if err := c.HealthCheck.Validate(); err != nil {
		return err
	}
	switch c.RestartPolicy {
	case RestartAlways, RestartOnFailure, RestartNever:
		return nil
	}
	return invalid("restartPolicy", "%s is not Always, OnFailure or Never", quote(string(c.RestartPolicy)))
}

func checkList(field string, items []string) error {
	if len(items) > MaxListLength {
		return invalid(field, "has %d entries, at most %d are allowed", len(items), MaxListLength)
	}
	for _, item := range items {
		if err := checkText(field, item); err != nil {
			return err
		}
	}
	return nil
}

func checkText(field, s string) error {
	if len(s) > MaxStringLength {
		return invalid(field, "has %d bytes, at most %d are allowed", len(s), MaxStringLength)
	}
	if strings.ContainsRune(s, 0) {
		return invalid(field, "holds a NUL byte")
	}
	return nil
}

func checkEnv(env []EnvVar) error {
	if len(env) > MaxListLength {
		return invalid("env", "has %d entries, at most %d are allowed", len(env), MaxListLength)
	}
	seen := make(map[string]bool, len(env))
	for _, e := range env {
		if err := checkText("env", e.Name); err != nil {
			return err
		}
		if err := checkText("env", e.Value); err != nil {
			return err
		}
		if e.Name == "" || strings.ContainsAny(e.Name, "= \t\r\n") {
			return invalid("env", "%s is not the name of a variable", quote(e.Name))
		}
		if seen[e.Name] {
			return invalid("env", "names %q twice", e.Name)
		}
		seen[e.Name] = true
	}
	return nil
}

func checkPorts(ports []Port) error {
	if len(ports) > MaxListLength {
		return invalid("ports", "has %d entries, at most %d are allowed", len(ports), MaxListLength)
	}
	seen := make(map[Port]bool, len(ports))
	for _, p := range ports {
		if p.ContainerPort == 0 || p.HostPort == 0 {
			return invalid("ports", "needs containerPort and hostPort above 0")
		}
		if p.Protocol != "tcp" && p.Protocol != "udp" {
			return invalid("ports", "protocol %s is not tcp or udp", quote(p.Protocol))
		}
		if err := checkHostIP(p.HostIP); err != nil {
			return err
		}
		taken := Port{HostPort: p.HostPort, HostIP: p.HostIP, Protocol: p.Protocol}
		if seen[taken] {
			return invalid("ports", "publishes %d/%s twice", p.HostPort, p.Protocol)
		}
		seen[taken] = true
	}
	return nil
}

func checkVolumes(volumes []Volume) error {
	if len(volumes) > MaxListLength {
		return invalid("volumes", "has %d entries, at most %d are allowed", len(volumes), MaxListLength)
	}
	seen := make(map[string]bool, len(volumes))
	for _, v := range volumes {
		switch {
		case (v.Name == "") == (v.HostPath == ""):
			return invalid("volumes", "needs either name or hostPath for %s", quote(v.MountPath))
		case v.Name != "":
			if err := checkLabel(v.Name); err != nil {
				return fmt.Errorf("volumes: name: %w", err)
			}
		default:
			if err := checkPath("volumes: hostPath", v.HostPath); err != nil {
				return err
			}
		}
		if err := checkPath("volumes: mountPath", v.MountPath); err != nil {
			return err
		}
		if err := checkOwnership("volumes", v.Mode, v.Owner); err != nil {
			return err
		}
		if v.Relabel != RelabelNone && v.Relabel != RelabelShared && v.Relabel != RelabelPrivate {
			return invalid("volumes: relabel", "%s is not z or Z", quote(string(v.Relabel)))
		}
		if v.MountPath == "/" {
			return invalid("volumes: mountPath", "must not be /")
		}
		if seen[v.MountPath] {
			return invalid("volumes", "mounts %q twice", v.MountPath)
		}
		seen[v.MountPath] = true
	}
	return nil
}

func checkPath(field, p string) error {
	if err := checkText(field, p); err != nil {
		return err
	}
	// A ':' or ',' would be read as a separator by engines' short mount syntax.
	if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, ":,\n") {
		return invalid(field, "%s is not a clean absolute path", quote(p))
	}
	return nil
}
