package controller

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/render"
)

// ready says whether the device's heartbeats arrive. What was said before stays
// for as long as the operator cannot know better.
func ready(known fleet.Device, before []metav1.Condition) metav1.Condition {
	was := meta.FindStatusCondition(before, v1alpha1.DeviceReady)
	c := metav1.Condition{Type: v1alpha1.DeviceReady}
	switch {
	case known.Known && known.Alive:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonHeartbeatReceived, "Heartbeats arrive."
	case !known.Known && was != nil, known.LastSeen.IsZero() && was != nil && was.Status == metav1.ConditionFalse:
		return *was
	case !known.Known:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, v1alpha1.ReasonNeverSeen, "No heartbeat has arrived yet."
	case known.LastSeen.IsZero():
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonHeartbeatMissing, "No heartbeat has arrived since the operator started."
	default:
		c.Status, c.Reason = metav1.ConditionFalse, v1alpha1.ReasonHeartbeatMissing
		c.Message = "The last heartbeat arrived at " + known.LastSeen.UTC().Format(time.RFC3339) + "."
	}
	return c
}

// accepting says whether the device takes its desired state.
func accepting(known fleet.Device) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.DeviceAccepting}
	switch {
	case known.Status == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, "NoStatus", "The device has not said how it is doing, or not so that it can be read."
	case known.Status.Error != "":
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "Refused", aggregate.Printable(known.Status.Error)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Accepted", "The device has refused nothing that it has answered."
	}
	return c
}

// pressure says whether the device is short of something.
func pressure(known fleet.Device, kind string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: "NotMeasured", Message: "The device has not said."}
	if known.Info == nil {
		return c
	}
	for _, p := range known.Info.Pressures {
		switch {
		case p.Type != kind:
			continue
		case p.Active:
			c.Status, c.Reason = metav1.ConditionTrue, "DeviceHasPressure"
		default:
			c.Status, c.Reason = metav1.ConditionFalse, "DeviceHasNoPressure"
		}
		c.Message = aggregate.Printable(p.Message)
	}
	return c
}

// complete says whether all that selects the device is in its desired state, which is
// known to hold what was rendered if it is written.
func complete(plan render.Plan, written bool) metav1.Condition {
	const kinds = 5
	c := metav1.Condition{Type: v1alpha1.DeviceComplete, Status: metav1.ConditionFalse}
	var parts []string
	switch {
	case len(plan.TooLarge) > 0:
		c.Reason = aggregate.ReasonTooLarge
		for _, ref := range plan.TooLarge {
			parts = append(parts, fmt.Sprintf("%s does not fit beside older deployments", ref))
		}
	case len(plan.Conflicts) > 0:
		c.Reason = aggregate.ReasonNameConflict
		for _, conflict := range plan.Conflicts {
			parts = append(parts, fmt.Sprintf("container %q of %s is held by %s", conflict.Container, conflict.Loser, conflict.Winner))
		}
	case len(plan.Held) > 0:
		c.Reason = plan.Held[0].Reason
		for _, held := range plan.Held {
			parts = append(parts, fmt.Sprintf("%s stays as it is: %s", held.Ref, held.Message))
		}
	case !written:
		c.Reason, c.Message = "NotWritten", "The desired state has not been written yet: the broker is away, or has refused it."
		return c
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Complete", "Every deployment that selects the device is in its desired state."
		return c
	}
	if len(parts) > kinds {
		parts = append(parts[:kinds], fmt.Sprintf("and %d more", len(parts)-kinds))
	}
	c.Message = strings.Join(parts, "; ") + "."
	return c
}
