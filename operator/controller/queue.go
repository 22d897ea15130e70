package controller

import (
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// ending is a priority queue whose users all come to an end when it is shut down.
//
// That of controller-runtime may keep them for good: it hands an item to one who waits,
// with its locks held, and does not see that he has left because of the shutdown. Then
// the operator ends with its time of grace (30 s) and an error, and whoever waits for
// its lease waits as long. Mended in v0.25, which goes with k8s.io v0.37:
// https://github.com/kubernetes-sigs/controller-runtime/issues/3538.
type ending struct {
	priorityqueue.PriorityQueue[reconcile.Request]
	over chan struct{}
}

// newQueue makes a controller's queue.
func newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workqueue.TypedRateLimitingInterface[reconcile.Request] {
	return &ending{
		PriorityQueue: priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = limiter }),
		over:          make(chan struct{}),
	}
}

// ShutDown implements workqueue.TypedInterface.
func (q *ending) ShutDown() {
	close(q.over)
	q.PriorityQueue.ShutDown()
}

// ShutDownWithDrain implements workqueue.TypedInterface. As with the queue of
// controller-runtime nothing is drained.
func (q *ending) ShutDownWithDrain() { q.ShutDown() }

// taken is what a queue gives.
type taken struct {
	item     reconcile.Request
	priority int
	shutdown bool
}

// GetWithPriority implements priorityqueue.PriorityQueue.
func (q *ending) GetWithPriority() (reconcile.Request, int, bool) {
	given := make(chan taken, 1)
	go func() {
		var t taken
		t.item, t.priority, t.shutdown = q.PriorityQueue.GetWithPriority()
		given <- t
	}()
	select {
	case t := <-given:
		return t.item, t.priority, t.shutdown
	case <-q.over:
		return reconcile.Request{}, 0, true
	}
}

// Get implements workqueue.TypedInterface.
func (q *ending) Get() (reconcile.Request, bool) {
	item, _, shutdown := q.GetWithPriority()
	return item, shutdown
}

// Done implements workqueue.TypedInterface.
func (q *ending) Done(item reconcile.Request) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.PriorityQueue.Done(item)
	}()
	select {
	case <-done:
	case <-q.over:
	}
}
