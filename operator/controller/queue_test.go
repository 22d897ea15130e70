package controller

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/protocol"
)

// Whoever works when the queue is shut down comes to an end, whatever he is at.
func TestWorkersEndWithTheirQueue(t *testing.T) {
	for round := range 100 {
		limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry)
		q, ok := newQueue("ending", limiter).(priorityqueue.PriorityQueue[reconcile.Request])
		if !ok {
			t.Fatal("it has no priorities")
		}
		var workers sync.WaitGroup
		begun := make(chan struct{}, 2*Workers)
		for w := range 2 * Workers {
			workers.Go(func() {
				for n := 0; ; n++ {
					q.AddWithOpts(priorityqueue.AddOpts{Priority: new(n % 3)}, request(protocol.DeviceID(fmt.Sprintf("device-%d-%d", w, n))))
					item, _, shutdown := q.GetWithPriority()
					if shutdown {
						return
					}
					if n == 50 {
						begun <- struct{}{}
					}
					q.Done(item)
				}
			})
		}
		<-begun
		q.ShutDown()
		ended := make(chan struct{})
		go func() { workers.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Fatalf("in round %d somebody works on after the shutdown", round)
		}
	}
}

// Both controllers have such a queue.
func TestControllersHaveAQueueThatEnds(t *testing.T) {
	o := options(1)
	if o.NewQueue == nil {
		t.Fatal("they have the library's own")
	}
	q := o.NewQueue("theirs", o.RateLimiter)
	defer q.ShutDown()
	if _, ok := q.(*ending); !ok {
		t.Errorf("they have a %T", q)
	}
}

// It gives what is urgent first, each once at a time.
func TestQueueGivesWhatIsUrgentFirst(t *testing.T) {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minRetry, maxRetry)
	q := newQueue("urgent", limiter)
	defer q.ShutDown()
	q.Add(request("one"))
	q.Add(request("two"))
	urgently(q, "three")
	var got []string
	for range 3 {
		item, shutdown := q.Get()
		if shutdown {
			t.Fatal("it is shut down")
		}
		got = append(got, item.Name)
	}
	if want := "[three one two]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	q.Add(request("one"))
	waiting := make(chan string, 1)
	go func() { item, _ := q.Get(); waiting <- item.Name }()
	select {
	case name := <-waiting:
		t.Errorf("%s is worked on twice at once", name)
	case <-time.After(50 * time.Millisecond):
	}
	q.Done(request("one"))
	select {
	case name := <-waiting:
		if name != "one" {
			t.Errorf("got %s, want one", name)
		}
	case <-time.After(10 * time.Second):
		t.Error("what was asked for meanwhile is not given")
	}
}
