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

// hearing counts the matched devices whose last word may not hold any more.
type hearing struct {
	// silent are not heard any more, unheard were not yet since we began to listen.
	silent, unheard int
}

// conditions follow from the counts, from who is heard, and from the conflicts found.
// The counts are of what devices said last; it is success only while they are heard.
func conditions(d *v1alpha1.Deployment, heard hearing, conflicts map[string][]string) {
	a, before := d.Status.Aggregate, meta.FindStatusCondition(d.Status.Conditions, v1alpha1.DeploymentReady)
	was := before != nil && before.Status == metav1.ConditionTrue && before.ObservedGeneration == d.Generation
	counts := fmt.Sprintf("%d of %d devices succeeded, %d failed.", a.Succeeded, a.Matched, a.Failed)
	switch {
	case a.Matched == 0:
		set(d, v1alpha1.DeploymentReady, false, "NoDeviceMatches", "The selector matches no device.")
	// Before we can know who is silent, what was said of this spec before we began
	// stands.
	case a.Succeeded == a.Matched && (heard.silent > 0 || heard.unheard > 0 && !was):
		set(d, v1alpha1.DeploymentReady, false, "DevicesSilent", fmt.Sprintf("%s That is their last word: %d of them are not heard.", counts, heard.silent+heard.unheard))
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
