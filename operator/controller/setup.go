package controller

import (
	"context"
	"fmt"
	"math"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/bucket"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/operator/lookup"
	"github.com/seatrial/seatrial/operator/seal"
	"github.com/seatrial/seatrial/protocol"
)

// Workers is how many devices are worked on at a time: enough to keep the API
// server and the broker busy, few enough to be polite.
const Workers = 8

// The longest wait between two tries, and the shortest. What fails for long is
// most likely waiting for somebody, who should see the effect soon.
const (
	minRetry = 50 * time.Millisecond
	maxRetry = 30 * time.Second
)

// Add adds the controllers to m. Events must be fed by the caller: it is the
// follower of store's buckets. Secrets are sealed by sealer; what deployments refer
// to is read by reader, which must know Secrets and ConfigMaps.
func Add(m ctrl.Manager, store *bucket.Store, table *fleet.Table, events *Events, sealer *seal.Sealer, reader client.WithWatch) error {
	err := ctrl.NewControllerManagedBy(m).
		Named("deployment").
		Watches(&v1alpha1.Deployment{}, unhurried()).
		WatchesRawSource(events.deploymentSource()).
		WithOptions(options(1)).
		Complete(&deployments{client: m.GetClient(), table: table, events: events})
	if err != nil {
		return fmt.Errorf("add the deployment controller: %w", err)
	}
	sources := &sources{client: m.GetClient()}
	sources.values = lookup.New(reader, func(o lookup.Object) { sources.changed(o, table, events) })
	if err := m.Add(sources.values); err != nil {
		return fmt.Errorf("add the watcher of references: %w", err)
	}
	err = ctrl.NewControllerManagedBy(m).
		Named("device").
		For(&v1alpha1.Device{}).
		Watches(&v1alpha1.Deployment{}, sources.affected(table)).
		WatchesRawSource(events.deviceSource()).
		WithOptions(options(Workers)).
		Complete(&devices{
			client:  m.GetClient(),
			store:   store,
			table:   table,
			events:  events,
			sources: sources,
			sealer:  sealer,
			applied: make(map[protocol.DeviceID]map[string]string),
		})
	if err != nil {
		return fmt.Errorf("add the device controller: %w", err)
	}
	return nil
}

func options(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		NewQueue:                newQueue,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry),
		// The broker, and with it the buckets, may come long after the operator.
		CacheSyncTimeout: math.MaxInt64,
		// Several operators may live in one process; their metrics are one.
		SkipNameValidation: new(true),
	}
}

// unhurried asks for a deployment at once when its spec changed, and otherwise
// soon: a write of its status, which is ours, is looked at again only because the
// cache that the counts were compared with may have been behind.
func unhurried() handler.EventHandler {
	at := func(o client.Object) reconcile.Request {
		return reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { q.Add(at(e.Object)) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			if e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() {
				q.Add(at(e.ObjectNew))
				return
			}
			q.AddAfter(at(e.ObjectNew), settle)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { q.Add(at(e.Object)) },
	}
}
