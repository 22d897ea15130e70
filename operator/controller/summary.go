package controller

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
)

// conditions follow from the counts, and from the conflicts found.
func conditions(d *v1alpha1.Deployment, conflicts map[string][]string) {
	a := d.Status.Aggregate
	counts := fmt.Sprintf("%d of %d devices succeeded, %d failed.", a.Succeeded, a.Matched, a.Failed)
	switch {
	case a.Matched == 0:
		set(d, v1alpha1.DeploymentReady, false, "NoDeviceMatches", "The selector matches no device.")
	case a.Succeeded == a.Matched:
		set(d, v1alpha1.DeploymentReady, true, "AllSucceeded", counts)
	case a.Failed > 0:
		set(d, v1alpha1.DeploymentReady, false, "DevicesFailed", counts)
	default:
		set(d, v1alpha1.DeploymentReady, false, "InProgress", counts)
	}
	if a.Pending+a.Running > 0 {
		set(d, v1alpha1.DeploymentProgressing, true, "DevicesAtWork", fmt.Sprintf("%d devices have not answered yet, %d are at work.", a.Pending, a.Running))
	} else {
		set(d, v1alpha1.DeploymentProgressing, false, "Settled", "Every device has answered.")
	}
	if len(conflicts) == 0 {
		set(d, v1alpha1.DeploymentConflict, false, "NoConflict", "No container's name is held by another deployment.")
		return
	}
	set(d, v1alpha1.DeploymentConflict, true, aggregate.ReasonNameConflict, describe(conflicts))
}

// describe names each conflict with the first devices that have it, in a stable
// order, within what a condition's message may hold.
func describe(conflicts map[string][]string) string {
	const devices, kinds = 5, 5
	var parts []string
	for _, what := range slices.SortedFunc(maps.Keys(conflicts), cmp.Compare[string]) {
		on := conflicts[what]
		slices.Sort(on)
		more := ""
		if len(on) > devices {
			more = fmt.Sprintf(" and %d more", len(on)-devices)
			on = on[:devices]
		}
		parts = append(parts, fmt.Sprintf("%s on %s%s", what, strings.Join(on, ", "), more))
	}
	if len(parts) > kinds {
		parts = append(parts[:kinds], fmt.Sprintf("and %d more", len(parts)-kinds))
	}
	return strings.Join(parts, "; ") + "."
}

func set(d *v1alpha1.Deployment, condition string, status bool, reason, message string) {
	c := metav1.Condition{
		Type: condition, Status: metav1.ConditionFalse, ObservedGeneration: d.Generation,
		Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(time.Now()),
	}
	if status {
		c.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&d.Status.Conditions, c)
}
