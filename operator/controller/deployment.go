package controller

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
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
	// began is when the first deployment was looked at; rendered says that since
	// then every device was rendered once.
	began    time.Time
	rendered bool
}

// rendering is how long the operator at most leaves statuses as it found them
// because it has not rendered every device yet: counts made earlier would say
// that devices are at work that have long answered. It ends, lest one device hold up
// all.
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
	late, early, err := r.unrendered(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if early {
		return reconcile.Result{RequeueAfter: settle}, nil
	}
	return reconcile.Result{}, r.status(ctx, &d, late)
}

// unrendered returns the devices that were not rendered yet, until each was once, and
// whether it is too early to count without them.
func (r *deployments) unrendered(ctx context.Context) (late []*v1alpha1.Device, early bool, err error) {
	if r.rendered {
		return nil, false, nil
	}
	if r.began.IsZero() {
		r.began = time.Now()
	}
	early = time.Since(r.began) <= rendering
	if early && r.table.Unrendered() {
		return nil, true, nil
	}
	var all v1alpha1.DeviceList
	// The objects are only read.
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("list devices: %w", err)
	}
	for i := range all.Items {
		if r.table.Get(protocol.DeviceID(all.Items[i].Name)).Shares == nil {
			late = append(late, &all.Items[i])
		}
	}
	r.rendered = len(late) == 0 && !r.table.Unrendered()
	return late, early && !r.rendered, nil
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
	if _, ok := device.Shares[uid]; ok {
		return true
	}
	return names(device.Desired.Document, uid)
}

// names reports whether a document has containers of the deployment.
func names(document []byte, uid string) bool {
	return bytes.Contains(document, []byte(`"uid":"`+uid+`"`))
}

// status adds up the devices and writes the status if it has changed. Those that are
// kept out are none of the fleet's at present, and nobody waits for them; those that are
// late are known by their resource alone.
func (r *deployments) status(ctx context.Context, d *v1alpha1.Deployment, late []*v1alpha1.Device) error {
	before := d.DeepCopy()
	d.Status.ObservedGeneration = d.Generation
	source, invalid := render.NewSource(d)
	uid := string(d.UID)
	var matched []aggregate.Device
	var heard hearing
	conflicts := make(map[string][]string)
	r.table.Each(func(device *fleet.Device) {
		if !device.Resource || device.Denial.Listed || !source.Matches(device.Labels) {
			return
		}
		switch {
		case !device.Known:
			heard.unheard++
		case !device.Alive:
			heard.silent++
		}
		share := device.Shares[uid]
		a := aggregate.Device{ID: device.ID, Status: device.Status}
		if share.Generation == d.Generation {
			a.Since, a.Present, a.TooLarge, a.Held = share.Since, device.Desired.Revision, share.TooLarge, share.Held
			for container, winner := range share.Conflicts {
				a.Conflicts = append(a.Conflicts, container)
				what := fmt.Sprintf("container %q is held by %s", container, winner)
				conflicts[what] = append(conflicts[what], string(device.ID))
			}
			slices.Sort(a.Conflicts)
		}
		matched = append(matched, a)
	})
	if len(late) > 0 {
		matched = append(matched, r.late(late, matched, source)...)
	}
	d.Status.Aggregate, d.Status.Failures = aggregate.Add(source.Ref, source.Containers(), matched)
	conditions(d, heard, conflicts)
	if invalid != nil {
		set(d, v1alpha1.DeploymentReady, false, render.ReasonInvalid, invalid.Error())
	}
	return r.write(ctx, before, d)
}

// late are those of the devices that the source matches by their resource, and that are
// not counted yet: some may have been rendered since.
func (r *deployments) late(devices []*v1alpha1.Device, counted []aggregate.Device, source *render.Source) (more []aggregate.Device) {
	known := make(map[protocol.DeviceID]bool, len(counted))
	for _, device := range counted {
		known[device.ID] = true
	}
	for _, device := range devices {
		id := protocol.DeviceID(device.Name)
		if !known[id] && !r.table.Get(id).Denial.Listed && source.Matches(device.Labels) {
			more = append(more, aggregate.Device{ID: id})
		}
	}
	return more
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
