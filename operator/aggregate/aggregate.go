package aggregate

import (
	"slices"
	"strings"
	"unicode"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// MaxFailures is the most failures that a deployment's status lists.
const MaxFailures = 10

// Reasons of failures that the operator finds itself.
const (
	// ReasonRefused says that the device refuses its desired state as a whole.
	ReasonRefused = "DesiredStateRefused"
	// ReasonNameConflict says that an older deployment holds the container's name.
	ReasonNameConflict = "NameConflict"
	// ReasonTooLarge says that the containers do not fit into the device's desired
	// state beside those of older deployments.
	ReasonTooLarge = "DesiredStateTooLarge"
	// ReasonRolledBack says that a container did not work as it is desired, and that
	// the device runs the last good one again.
	ReasonRolledBack = "RolledBack"
)

// Device is what is known of one matched device, for one deployment.
type Device struct {
	ID protocol.DeviceID
	// Since is the first revision of the desired state that holds the deployment's
	// containers as they are now, 0 if none does yet; Present is its revision now.
	// A status that answers one from Since to Present speaks of them.
	Since, Present uint64
	// Status is what the device last said; nil if it said nothing.
	Status *protocol.DeviceStatus
	// Conflicts are the deployment's containers that this device does not get.
	Conflicts []string
	// TooLarge says that it gets none, because they do not fit.
	TooLarge bool
	// Held says why it keeps those that it has; the zero value says that it does not.
	Held render.Hold
}

// Phase is how one device is doing with one deployment.
type Phase string

// The phases, in the words of the deployment's status.
const (
	Pending   Phase = "pending"
	Running   Phase = "running"
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
)

// Of returns how device is doing with the containers of the deployment ref, and
// why it failed if it did.
func Of(ref protocol.DeploymentRef, containers []string, device Device) (Phase, *v1alpha1.Failure) {
	if len(device.Conflicts) > 0 {
		return Failed, failure(device.ID, device.Conflicts[0], ReasonNameConflict, "an older deployment holds this name on the device")
	}
	if device.TooLarge {
		return Failed, failure(device.ID, "", ReasonTooLarge, "the containers do not fit into the device's desired state beside those of older deployments")
	}
	switch device.Held.Reason {
	case "":
	case render.ReasonReferenceUnread:
		return Pending, nil
	default:
		return Failed, failure(device.ID, "", device.Held.Reason, device.Held.Message)
	}
	s := device.Status
	if s == nil || device.Since == 0 || s.Revision < device.Since || s.Revision > device.Present {
		return Pending, nil
	}
	if s.Error != "" {
		return Failed, failure(device.ID, "", ReasonRefused, s.Error)
	}
	phase := Succeeded
	for _, name := range containers {
		i := slices.IndexFunc(s.Containers, func(c protocol.ContainerStatus) bool {
			return c.Name == name && c.Deployment.UID == ref.UID
		})
		if i < 0 {
			phase = Running
			continue
		}
		switch c := s.Containers[i]; {
		case c.Phase == protocol.ContainerFailed:
			return Failed, failure(device.ID, name, c.Reason, c.Message)
		case c.Phase == protocol.ContainerRolledBack:
			return Failed, failure(device.ID, name, ReasonRolledBack, rollback(&c))
		case !c.Phase.Done():
			phase = Running
		}
	}
	return phase, nil
}

// rollback is why a container was taken back, with the end of what it said.
func rollback(c *protocol.ContainerStatus) string {
	r := c.Rollback
	if r == nil {
		return c.Message
	}
	message := r.Reason
	if r.Message != "" {
		message += ": " + r.Message
	}
	if r.Log != "" {
		message += "; it said: " + r.Log
	}
	return message
}

// Add counts devices by phase and lists the first failures by device.
func Add(ref protocol.DeploymentRef, containers []string, devices []Device) (v1alpha1.Aggregate, []v1alpha1.Failure) {
	var sum v1alpha1.Aggregate
	var failures []v1alpha1.Failure
	for _, d := range devices {
		sum.Matched++
		phase, f := Of(ref, containers, d)
		switch phase {
		case Pending:
			sum.Pending++
		case Running:
			sum.Running++
		case Succeeded:
			sum.Succeeded++
		case Failed:
			sum.Failed++
		}
		if f != nil {
			failures = append(failures, *f)
		}
	}
	slices.SortFunc(failures, func(a, b v1alpha1.Failure) int { return strings.Compare(a.Device, b.Device) })
	if len(failures) > MaxFailures {
		failures = slices.Clone(failures[:MaxFailures])
	}
	return sum, failures
}

// Printable returns what a device said without the characters that a terminal
// would act upon.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// failure cuts the message to what the resource's schema admits.
func failure(id protocol.DeviceID, container, reason, message string) *v1alpha1.Failure {
	const limit = 1024
	message, reason = Printable(message), Printable(reason)
	if runes := []rune(message); len(runes) > limit {
		message = string(runes[:limit-1]) + "…"
	}
	return &v1alpha1.Failure{Device: string(id), Container: container, Reason: reason, Message: message}
}
