package mark

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/seatrial/seatrial/protocol"
)

// The labels of a container that an agent made, of which a volume that one made has
// the first two.
const (
	Managed   = "dev.seatrial.managed"
	Device    = "dev.seatrial.device"
	Namespace = "dev.seatrial.deployment.namespace"
	Name      = "dev.seatrial.deployment.name"
	UID       = "dev.seatrial.deployment.uid"
	// Environment lists those variables that the container was given although
	// the engine sets them by itself: only so can it be told later that one is no
	// longer asked for.
	Environment = "dev.seatrial.environment"
	// Secrets lists the secrets that the container was made with: no engine shows
	// all of them. A value cannot be told from it.
	Secrets = "dev.seatrial.secrets"
	// Files lists where the container's files are mounted.
	Files = "dev.seatrial.files"
	// Relabelled lists how the container's volumes were labelled for SELinux, which
	// engines show for some kinds of volumes alone.
	Relabelled = "dev.seatrial.relabelled"
	// Replaced is the record of what the container took the place of.
	Replaced = "dev.seatrial.replaced"
)

// managed is the value of [Managed].
const managed = "true"

// engineEnvironment are the variables that an engine sets in every container.
var engineEnvironment = []string{"HOME", "HOSTNAME", "PATH", "TERM", "container"}

// SetByEngine reports whether engines set the variable by themselves.
func SetByEngine(variable string) bool { return slices.Contains(engineEnvironment, variable) }

// Labels are those of the container that device makes for c. Replaced may be nil.
func Labels(device protocol.DeviceID, c *protocol.Container, replaced *protocol.Replacement) map[string]string {
	labels := OwnedBy(device)
	labels[Namespace], labels[Name], labels[UID] = c.Deployment.Namespace, c.Deployment.Name, c.Deployment.UID
	var overridden []string
	for _, e := range c.Env {
		if SetByEngine(e.Name) {
			overridden = append(overridden, e.Name)
		}
	}
	if len(overridden) > 0 {
		slices.Sort(overridden)
		labels[Environment] = strings.Join(overridden, ",")
	}
	if replaced != nil {
		// Of strings and a time: it cannot fail.
		if record, err := json.Marshal(concealed(replaced)); err == nil {
			labels[Replaced] = string(record)
		}
	}
	return labels
}

// What is said of a variable in place of its value, which may be a secret.
const (
	aValue       = "(a value)"
	anotherValue = "(another value)"
	// NotSet is said of a variable that is not there.
	NotSet = "(not set)"
)

// concealed is a record without the values of variables: that one differs is told,
// and whether it is there, but not what it is.
func concealed(replaced *protocol.Replacement) *protocol.Replacement {
	record := *replaced
	record.Drift = slices.Clone(record.Drift)
	for i := range record.Drift {
		d := &record.Drift[i]
		if !strings.HasPrefix(d.Field, "env.") {
			continue
		}
		desired, live := aValue, aValue
		if d.Live == NotSet {
			live = NotSet
		}
		switch {
		case d.Desired == NotSet:
			desired = NotSet
		case live == aValue:
			desired = anotherValue
		}
		d.Desired, d.Live = desired, live
	}
	return &record
}

// OwnedBy are the labels of what is made for device and for no single container.
func OwnedBy(device protocol.DeviceID) map[string]string {
	return map[string]string{Managed: managed, Device: string(device)}
}

// Owns reports whether what has these labels was made for device.
func Owns(device protocol.DeviceID, labels map[string]string) bool {
	return labels[Managed] == managed && labels[Device] == string(device)
}

// Deployment is where a container with these labels comes from.
func Deployment(labels map[string]string) protocol.DeploymentRef {
	return protocol.DeploymentRef{Namespace: labels[Namespace], Name: labels[Name], UID: labels[UID]}
}

// Overrides reports whether a container with these labels was given the variable
// in place of the engine's own.
func Overrides(labels map[string]string, variable string) bool {
	return slices.Contains(strings.Split(labels[Environment], ","), variable)
}

// Replacement is what a container with these labels took the place of; nil if it
// is the first, or if the record cannot be read. Records of older agents hold the
// values of variables; they are not returned.
func Replacement(labels map[string]string) *protocol.Replacement {
	record := new(protocol.Replacement)
	if json.Unmarshal([]byte(labels[Replaced]), record) != nil {
		return nil
	}
	return concealed(record)
}

// Secret is what is noted of a secret that a container was made with.
type Secret struct {
	// Name is the one under which the engine holds it.
	Name string `json:"name"`
	// Placement says how its file was made; empty for a variable.
	Placement string `json:"placement,omitempty"`
}

// Data is what is noted of the data that a container was made with.
type Data struct {
	// Secrets are by their target, Relabelled are podman's letters by mount path.
	Secrets    map[string]Secret
	Relabelled map[string]string
	// Files are where files are mounted.
	Files []string
}

// AddTo notes it in labels.
func (d Data) AddTo(labels map[string]string) {
	for _, note := range []struct {
		label string
		empty bool
		what  any
	}{
		{Secrets, len(d.Secrets) == 0, d.Secrets},
		{Relabelled, len(d.Relabelled) == 0, d.Relabelled},
		{Files, len(d.Files) == 0, d.Files},
	} {
		// All are of strings alone: they cannot fail.
		if record, err := json.Marshal(note.what); err == nil && !note.empty {
			labels[note.label] = string(record)
		}
	}
}

// DataOf is what was noted in labels. Its maps are never nil.
func DataOf(labels map[string]string) Data {
	d := Data{Secrets: SecretsOf(labels), Relabelled: make(map[string]string)}
	if json.Unmarshal([]byte(labels[Relabelled]), &d.Relabelled) != nil || d.Relabelled == nil {
		d.Relabelled = make(map[string]string)
	}
	if json.Unmarshal([]byte(labels[Files]), &d.Files) != nil {
		d.Files = nil
	}
	return d
}

// SecretsOf are the secrets that a container with these labels was made with, by
// their target; never nil.
func SecretsOf(labels map[string]string) map[string]Secret {
	secrets := make(map[string]Secret)
	if json.Unmarshal([]byte(labels[Secrets]), &secrets) != nil || secrets == nil {
		return make(map[string]Secret)
	}
	return secrets
}
