package controller

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// affected asks for the devices that a change of a deployment can concern: those
// it selects, those it did, and those that hold a share of it. Of updates, those
// of the status are our own; deletion counts as a change of the spec, as it moves
// the generation.
func (s *sources) affected(table *fleet.Table) handler.EventHandler {
	ask := func(q queue, versions ...client.Object) {
		// First the count, then the table: a device that is being rendered from what
		// was before does it the other way round, so that one of the two notices.
		s.changes.Add(1)
		for _, id := range concerned(table, versions) {
			urgently(q, id)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { ask(q, e.Object) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { ask(q, e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() || e.ObjectOld.GetUID() != e.ObjectNew.GetUID() {
				ask(q, e.ObjectOld, e.ObjectNew)
			}
		},
	}
}

// urgently asks for a device before all those that are to be looked at for what
// they said: that waits for the API server, and devices wait for this.
func urgently(q queue, id protocol.DeviceID) {
	p, ok := q.(priorityqueue.PriorityQueue[reconcile.Request])
	if !ok {
		q.Add(request(id))
		return
	}
	p.AddWithOpts(priorityqueue.AddOpts{Priority: new(1)}, request(id))
}

func concerned(table *fleet.Table, versions []client.Object) (ids []protocol.DeviceID) {
	var selectors []labels.Selector
	uids := make(map[string]bool, len(versions))
	for _, o := range versions {
		uids[string(o.GetUID())] = true
		if d, ok := o.(*v1alpha1.Deployment); ok {
			// One that cannot be read selects nothing.
			if selector, err := metav1.LabelSelectorAsSelector(&d.Spec.Selector); err == nil {
				selectors = append(selectors, selector)
			}
		}
	}
	table.Each(func(d *fleet.Device) {
		if affects(d, selectors, uids) {
			ids = append(ids, d.ID)
		}
	})
	return ids
}

func affects(d *fleet.Device, selectors []labels.Selector, uids map[string]bool) bool {
	for uid := range uids {
		if _, ok := d.Shares[uid]; ok {
			return true
		}
	}
	for _, s := range selectors {
		if d.Resource && s.Matches(labels.Set(d.Labels)) {
			return true
		}
	}
	return false
}
