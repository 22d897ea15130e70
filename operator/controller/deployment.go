package controller

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/render"
	"github.com/seatrial/seatrial/protocol"
)

// deployments keeps each Deployment's status, and its finalizer.
type deployments struct {
	client client.Client
	table  *fleet.Table
	events *Events
	// started is when the operator began.
	started time.Time
}

// rendering is how long after its start the operator may leave statuses as it
// found them because it has not rendered every device yet: counts made earlier
// would say that devices are missing.
const rendering = time.Minute

// Reconcile implements reconcile.Reconciler.
func (r *deployments) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var d v1alpha1.Deployment
	if err := r.client.Get(ctx, request.NamespacedName, &d); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	uid := string(d.UID)
	if !d.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, &d)
	}
	r.events.name(uid, request.NamespacedName)
	if !controllerutil.ContainsFinalizer(&d, v1alpha1.Finalizer) {
		before := d.DeepCopy()
		controllerutil.AddFinalizer(&d, v1alpha1.Finalizer)
		if err := r.client.Patch(ctx, &d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			return reconcile.Result{}, fmt.Errorf("add the finalizer: %w", client.IgnoreNotFound(err))
		}
	}
	if r.table.Unrendered() && time.Since(r.started) < rendering {
		return reconcile.Result{RequeueAfter: settle}, nil
	}
	return reconcile.Result{}, r.status(ctx, &d)
}

// finalize lets go of a deployment once no desired state holds a container of
// its any more.
func (r *deployments) finalize(ctx context.Context, d *v1alpha1.Deployment) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(d, v1alpha1.Finalizer) {
		return reconcile.Result{}, nil
	}
	uid := string(d.UID)
	var holding []protocol.DeviceID
	r.table.Each(func(device *fleet.Device) {
		if holds(device, uid) {
			holding = append(holding, device.ID)
		}
	})
	if len(holding) > 0 {
		for _, id := range holding {
			r.events.device(id)
		}
		return reconcile.Result{RequeueAfter: settle}, nil
	}
	before := d.DeepCopy()
	controllerutil.RemoveFinalizer(d, v1alpha1.Finalizer)
	if err := r.client.Patch(ctx, d, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("remove the finalizer: %w", err)
	}
	r.events.forget(uid)
	return reconcile.Result{}, nil
}

// holds reports whether the device's desired state names the deployment: as it
// was rendered, or, after a restart, as the bucket has it.
func holds(device *fleet.Device, uid string) bool {
	if _, ok := device.Rendered.Generations[uid]; ok {
		return true
	}
	return device.Desired.Document != nil && strings.Contains(string(device.Desired.Document), `"uid":"`+uid+`"`)
}

// status adds up the devices and writes the status if it has changed.
func (r *deployments) status(ctx context.Context, d *v1alpha1.Deployment) error {
	before := d.DeepCopy()
	d.Status.ObservedGeneration = d.Generation
	source, err := render.NewSource(d)
	if err != nil {
		d.Status.Aggregate, d.Status.Failures = v1alpha1.Aggregate{}, nil
		set(d, v1alpha1.DeploymentReady, false, "Invalid", err.Error())
		return r.write(ctx, before, d)
	}
	uid := string(d.UID)
	var matched []aggregate.Device
	conflicts := make(map[string][]string)
	r.table.Each(func(device *fleet.Device) {
		generation, rendered := device.Rendered.Generations[uid]
		if !rendered && !source.Matches(device.Labels) {
			return
		}
		a := aggregate.Device{ID: device.ID, Status: device.Status}
		if generation == d.Generation {
			a.Wanted = device.Desired.Revision
			for container, winner := range device.Rendered.Conflicts[uid] {
				a.Conflicts = append(a.Conflicts, container)
				what := fmt.Sprintf("container %q is held by %s", container, winner)
				conflicts[what] = append(conflicts[what], string(device.ID))
			}
			slices.Sort(a.Conflicts)
		}
		matched = append(matched, a)
	})
	d.Status.Aggregate, d.Status.Failures = aggregate.Add(source.Ref, source.Containers(), matched)
	conditions(d, conflicts)
	return r.write(ctx, before, d)
}

func (r *deployments) write(ctx context.Context, before, d *v1alpha1.Deployment) error {
	if equality.Semantic.DeepEqual(before.Status, d.Status) {
		return nil
	}
	if err := r.client.Status().Patch(ctx, d, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the deployment's status: %w", err)
	}
	return nil
}

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
