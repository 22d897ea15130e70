package controller

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/render"
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

	mu sync.Mutex
	// applied are the labels that were last applied to each Device.
	applied map[string]map[string]string
}

// Reconcile implements reconcile.Reconciler.
func (r *devices) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	id, err := protocol.ParseDeviceID(request.Name)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	known := r.table.Get(id)
	device, err := r.resource(ctx, known)
	if err != nil {
		return reconcile.Result{}, err
	}
	if device == nil {
		return reconcile.Result{}, r.write(ctx, known, nil, fleet.Rendered{Generations: map[string]int64{}}, protocol.DesiredState{})
	}
	if err := r.status(ctx, device, known); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.render(ctx, known, device.Labels)
}

// resource returns the Device, which it makes if the device has said what it is.
func (r *devices) resource(ctx context.Context, known fleet.Device) (*v1alpha1.Device, error) {
	var device v1alpha1.Device
	err := r.client.Get(ctx, client.ObjectKey{Name: string(known.ID)}, &device)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return nil, fmt.Errorf("get device: %w", err)
	}
	if known.Info == nil || !device.DeletionTimestamp.IsZero() {
		if absent {
			return nil, nil
		}
		return &device, nil
	}
	if !absent && r.hasLabels(&device, known.Info.Labels) {
		return &device, nil
	}
	apply := &unstructured.Unstructured{}
	apply.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Device"))
	apply.SetName(string(known.ID))
	apply.SetLabels(known.Info.Labels)
	if err := r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(apply), fieldOwner, client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("apply device: %w", err)
	}
	r.mu.Lock()
	r.applied[device.Name] = known.Info.Labels
	r.mu.Unlock()
	out := new(v1alpha1.Device)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(apply.Object, out); err != nil {
		return nil, fmt.Errorf("read the applied device: %w", err)
	}
	return out, nil
}

// hasLabels reports whether the Device carries what the device says of itself,
// and nothing that it said before.
func (r *devices) hasLabels(device *v1alpha1.Device, labels map[string]string) bool {
	r.mu.Lock()
	applied, ok := r.applied[device.Name]
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
func (r *devices) status(ctx context.Context, device *v1alpha1.Device, known fleet.Device) error {
	before := device.DeepCopy()
	if known.Info != nil {
		f := known.Info.Facts
		device.Status.Facts = v1alpha1.DeviceFacts{
			AgentVersion:  f.AgentVersion,
			OS:            f.OS,
			Kernel:        f.Kernel,
			Architecture:  f.Architecture,
			PodmanVersion: f.PodmanVersion,
			Hostname:      f.Hostname,
			BootID:        f.BootID,
			CPUs:          int32(min(max(f.CPUs, 0), math.MaxInt32)),
			MemoryBytes:   int64(min(f.MemoryBytes, math.MaxInt64)),
		}
	}
	if known.Known {
		meta.SetStatusCondition(&device.Status.Conditions, ready(known, device.Generation))
	} else if meta.FindStatusCondition(device.Status.Conditions, v1alpha1.DeviceReady) == nil {
		meta.SetStatusCondition(&device.Status.Conditions, metav1.Condition{
			Type: v1alpha1.DeviceReady, Status: metav1.ConditionUnknown, ObservedGeneration: device.Generation,
			Reason: v1alpha1.ReasonNeverSeen, Message: "No heartbeat has arrived yet.",
		})
	}
	meta.SetStatusCondition(&device.Status.Conditions, accepting(known, device.Generation))
	if equality.Semantic.DeepEqual(before.Status, device.Status) {
		return nil
	}
	if err := r.client.Status().Patch(ctx, device, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the device's status: %w", err)
	}
	return nil
}

func ready(known fleet.Device, generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.DeviceReady, ObservedGeneration: generation}
	if known.Alive {
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonHeartbeatReceived, "Heartbeats arrive."
		return c
	}
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonHeartbeatMissing, "No heartbeat has arrived since the operator started."
	if !known.LastSeen.IsZero() {
		c.Message = "The last heartbeat arrived at " + known.LastSeen.UTC().Format(time.RFC3339) + "."
	}
	return c
}

func accepting(known fleet.Device, generation int64) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.DeviceAccepting, ObservedGeneration: generation}
	switch {
	case known.Status == nil:
		c.Status, c.Reason, c.Message = metav1.ConditionUnknown, "NoStatus", "The device has not said how it is doing."
	case known.Status.Error != "":
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "Refused", known.Status.Error
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, "Accepted", "The device follows its desired state."
	}
	return c
}

// render writes what the device with these labels should run.
func (r *devices) render(ctx context.Context, known fleet.Device, labels map[string]string) error {
	all, generations, err := r.sources.list(ctx)
	if err != nil {
		return err
	}
	plan := render.Device(known.ID, labels, all)
	rendered := fleet.Rendered{Generations: make(map[string]int64)}
	for _, s := range all {
		if s.Matches(labels) {
			rendered.Generations[s.Ref.UID] = generations[s.Ref.UID]
		}
	}
	for _, c := range plan.Conflicts {
		if rendered.Conflicts == nil {
			rendered.Conflicts = make(map[string]map[string]protocol.DeploymentRef)
		}
		if rendered.Conflicts[c.Loser.UID] == nil {
			rendered.Conflicts[c.Loser.UID] = make(map[string]protocol.DeploymentRef)
		}
		rendered.Conflicts[c.Loser.UID][c.Container] = c.Winner
	}
	return r.write(ctx, known, labels, rendered, plan.State)
}

// write brings the device's key to what was rendered, if it is not that already,
// and only then lets the deployments know.
func (r *devices) write(ctx context.Context, known fleet.Device, labels map[string]string, rendered fleet.Rendered, state protocol.DesiredState) error {
	now := known.Desired
	switch {
	case len(state.Containers) == 0 && now.Document != nil:
		revision, err := r.store.Delete(ctx, protocol.BucketDesired, known.ID, now.Revision)
		if err != nil {
			return fmt.Errorf("delete the desired state: %w", err)
		}
		desiredWrites.Inc()
		r.table.SetDesired(known.ID, fleet.Desired{Revision: revision})
	case len(state.Containers) > 0:
		document, err := state.Encode()
		if err != nil {
			// Writing it would have every device refuse it; the old one stays.
			return reconcile.TerminalError(fmt.Errorf("render the desired state of %s: %w", known.ID, err))
		}
		if bytes.Equal(document, now.Document) {
			break
		}
		revision, err := r.store.Put(ctx, protocol.BucketDesired, known.ID, document, now.Revision)
		if err != nil {
			return fmt.Errorf("write the desired state: %w", err)
		}
		desiredWrites.Inc()
		r.table.SetDesired(known.ID, fleet.Desired{Revision: revision, Document: document})
		slog.InfoContext(ctx, "Wrote a desired state.", "device", known.ID, "revision", revision, "containers", len(state.Containers))
	}
	r.events.concerns(r.table.SetRendered(known.ID, labels, rendered))
	return nil
}
