package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
)

// Workers is how many devices are worked on at a time: enough to keep the API
// server and the broker busy, few enough to be polite.
const Workers = 8

// Add adds the controllers to m. Events must be fed by the caller: it is the
// follower of store's buckets.
func Add(m ctrl.Manager, store *bucket.Store, table *fleet.Table, events *Events) error {
	// Of updates, those of a status are our own. Deletion counts as a change of
	// the spec: it moves the generation.
	specChanged := predicate.GenerationChangedPredicate{}
	deploymentController := &deployments{client: m.GetClient(), table: table, events: events, started: time.Now()}
	err := ctrl.NewControllerManagedBy(m).
		Named("deployment").
		For(&v1alpha1.Deployment{}, builder.WithPredicates(specChanged)).
		WatchesRawSource(events.deploymentSource()).
		Complete(deploymentController)
	if err != nil {
		return fmt.Errorf("add the deployment controller: %w", err)
	}
	deviceController := &devices{
		client:  m.GetClient(),
		store:   store,
		table:   table,
		events:  events,
		sources: &sources{client: m.GetClient()},
		applied: make(map[string]map[string]string),
	}
	// A deployment can concern any device: those it selects, and those it did.
	everyDevice := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		var all []reconcile.Request
		table.Each(func(d *fleet.Device) {
			all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Name: string(d.ID)}})
		})
		return all
	})
	err = ctrl.NewControllerManagedBy(m).
		Named("device").
		For(&v1alpha1.Device{}, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		Watches(&v1alpha1.Deployment{}, everyDevice, builder.WithPredicates(specChanged)).
		WatchesRawSource(events.deviceSource()).
		WithOptions(controller.Options{MaxConcurrentReconciles: Workers}).
		Complete(deviceController)
	if err != nil {
		return fmt.Errorf("add the device controller: %w", err)
	}
	return nil
}
