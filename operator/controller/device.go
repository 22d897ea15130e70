package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/aggregate"
	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/seal"
	"github.com/seatrial/seatrial/protocol"
)

// fieldOwner is the operator's name as the owner of the labels that it applies
// to Devices. Labels that others put there are theirs and stay.
const fieldOwner = client.FieldOwner("fleet-operator")

// devices keeps each Device resource and each desired state as it should be.
type devices struct {
	client  client.Client
	store   *bucket.Store
	table   *fleet.Table
	events  *Events
	sources *sources
	sealer  *seal.Sealer

	mu sync.Mutex
	// applied are the labels that were last applied to each Device.
	applied map[protocol.DeviceID]map[string]string
}

// Reconcile implements reconcile.Reconciler.
func (r *devices) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	id, err := protocol.ParseDeviceID(request.Name)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	changes := r.sources.changes.Load()
	device, applied := r.resource(ctx, r.table.Get(id))
	if applied != nil && device == nil {
		return reconcile.Result{}, applied
	}
	if device == nil {
		_, err := r.write(ctx, id, fleet.Rendered{Shares: fleet.Shares{}}, nil, nil)
		return reconcile.Result{}, err
	}
	plan, shares, err := r.plan(ctx, id, device.Labels)
	if err != nil {
		return reconcile.Result{}, err
	}
	document, err := encode(plan.State)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("render the desired state of %s: %w", id, err))
	}
	denied := r.decommission(ctx, id, device)
	written, failed := r.write(ctx, id, fleet.Rendered{Resource: true, Labels: device.Labels, Shares: shares}, document, plan.Held)
	err = errors.Join(applied, denied, failed, r.status(ctx, device, r.table.Get(id), complete(plan, written)))
	if err == nil && r.sources.changes.Load() != changes {
		// A deployment changed meanwhile, and may not have seen what this device is
		// now: see affected.
		r.events.device(id)
	}
	return reconcile.Result{}, err
}

// resource returns the Device, which it makes if the device has said what it is
// and is not kept out: whoever deletes the resource of a decommissioned device has
// done with it. It is nil if there is none. It may return both a Device and an
// error.
func (r *devices) resource(ctx context.Context, known fleet.Device) (*v1alpha1.Device, error) {
	var device v1alpha1.Device
	err := r.client.Get(ctx, client.ObjectKey{Name: string(known.ID)}, &device)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return nil, fmt.Errorf("get device: %w", err)
	}
	if known.Info == nil || !device.DeletionTimestamp.IsZero() || absent && known.Denial.Listed {
		if absent {
			return nil, nil
		}
		return &device, nil
	}
	if !absent && r.hasLabels(&device, known) {
		return &device, nil
	}
	apply := &unstructured.Unstructured{}
	apply.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Device"))
	apply.SetName(string(known.ID))
	apply.SetLabels(known.Info.Labels)
	if err := r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(apply), fieldOwner, client.ForceOwnership); err != nil {
		err = fmt.Errorf("apply device: %w", err)
		if absent {
			return nil, err
		}
		// It keeps its old labels, and what they stand for.
		return &device, err
	}
	r.mu.Lock()
	r.applied[known.ID] = known.Info.Labels
	r.mu.Unlock()
	out := new(v1alpha1.Device)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(apply.Object, out); err != nil {
		return nil, fmt.Errorf("read the applied device: %w", err)
	}
	return out, nil
}

// hasLabels reports whether the Device carries what the device says of itself,
// and nothing that it said before.
func (r *devices) hasLabels(device *v1alpha1.Device, known fleet.Device) bool {
	labels := known.Info.Labels
	r.mu.Lock()
	applied, ok := r.applied[known.ID]
	r.mu.Unlock()
	if !ok {
		// After a restart: anything else may be a label of ours that is stale.
		return maps.Equal(device.Labels, labels)
	}
	if !maps.Equal(applied, labels) {
		return false
	}
	for k, v := range labels {
		if has, ok := device.Labels[k]; !ok || has != v {
			return false
		}
	}
	return true
}

// status writes the Device's status if something in it has changed.
func (r *devices) status(ctx context.Context, device *v1alpha1.Device, known fleet.Device, complete metav1.Condition) error {
	before := device.DeepCopy()
	if known.Info != nil {
		f := known.Info.Facts
		device.Status.Facts = v1alpha1.DeviceFacts{
			AgentVersion:  aggregate.Printable(f.AgentVersion),
			OS:            aggregate.Printable(f.OS),
			Kernel:        aggregate.Printable(f.Kernel),
			Architecture:  aggregate.Printable(f.Architecture),
			PodmanVersion: aggregate.Printable(f.PodmanVersion),
			Hostname:      aggregate.Printable(f.Hostname),
			BootID:        aggregate.Printable(f.BootID),
			CPUs:          int32(min(max(f.CPUs, 0), math.MaxInt32)),
			MemoryBytes:   int64(min(f.MemoryBytes, math.MaxInt64)),
			DiskBytes:     int64(min(f.DiskBytes, math.MaxInt64)),
			Addresses:     f.Addresses,

			ClockOffsetMillis: f.ClockOffsetMillis,
		}
	}
	conditions := []metav1.Condition{ready(known, before.Status.Conditions), accepting(known), complete,
		pressure(known, v1alpha1.DeviceDiskPressure), pressure(known, v1alpha1.DeviceMemoryPressure)}
	if c, said := decommissioned(device, known); said {
		conditions = append(conditions, c)
	}
	for _, c := range conditions {
		c.ObservedGeneration = device.Generation
		meta.SetStatusCondition(&device.Status.Conditions, c)
	}
	if equality.Semantic.DeepEqual(before.Status, device.Status) {
		return nil
	}
	if err := r.client.Status().Patch(ctx, device, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the device's status: %w", err)
	}
	return nil
}
