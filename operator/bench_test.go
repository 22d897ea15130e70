package operator_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// BenchmarkFleet measures one deployment to a whole fleet, with etcd,
// kube-apiserver, broker and the simulated devices on the same machine:
//
//   - registered-s: from the first device's word until every Device is Ready
//   - deployed-s: from the creation of the deployment until its status counts
//     every device as succeeded. Budget, with 10,000 devices: 60 s.
//   - restarted-s: from the start of another operator until it is ready
//   - restart-writes: what that one wrote; it should be 0
//   - written-p50-ms, written-p99-ms: from the creation of a deployment to one
//     device of the fleet until that device's doorbell rings, in a calm fleet
//   - busy-p50-ms, busy-max-ms: the same while the answers of the whole fleet to
//     its first deployment come in
//   - peak-MB: the most memory an operator had resident. Budget: 500 MB.
//
// OPERATOR_BENCH_DEVICES says how many devices there are (1,000 if unset).
func BenchmarkFleet(b *testing.B) {
	n := 1000
	if s := os.Getenv("OPERATOR_BENCH_DEVICES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatalf("OPERATOR_BENCH_DEVICES: %v", err)
		}
	}
	for b.Loop() {
		benchmarkFleet(b, n)
	}
}

func benchmarkFleet(b *testing.B, n int) {
	s := newStack(b)
	ctx, cancel := context.WithCancel(b.Context())
	var background sync.WaitGroup
	defer background.Wait()
	defer cancel()
	ids := make([]protocol.DeviceID, n)
	for i := range ids {
		ids[i] = protocol.DeviceID(fmt.Sprintf("device-%05d", i))
	}

	began := time.Now()
	s.register(ctx, ids)
	background.Go(func() { s.beat(ctx, ids) })
	s.watched(ctx, "all devices", func(ctx context.Context) error { return s.are(ctx, v1alpha1.ConditionReady, n) })
	registered := time.Since(began)

	background.Go(func() {
		if err := s.devices.Obey(ctx, 16); err != nil {
			b.Error(err)
		}
	})
	began = time.Now()
	d := s.deploy("all", "", "app")
	s.watched(ctx, "deployment", func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
			return err
		}
		if int(d.Status.Aggregate.Succeeded) < n {
			return fmt.Errorf("counts %+v", d.Status.Aggregate)
		}
		return nil
	})
	deployed := time.Since(began)

	busy := s.latencies("busy", 20, ids)
	s.settled(ctx, n)
	calm := s.latencies("calm", 100, ids)
	peak, err := s.operator.PeakMemory()
	s.must(err)

	s.settled(ctx, n)
	before := s.versions()
	s.must(s.operator.Stop())
	began = time.Now()
	s.start()
	restarted := time.Since(began)
	witness := s.witness("witness")
	writes := 0
	for name, version := range s.versions() {
		if name != witness && name != "deployment all" && name != "desired states" && before[name] != version {
			writes++
		}
	}
	again, err := s.operator.PeakMemory()
	s.must(err)

	b.ReportMetric(registered.Seconds(), "registered-s")
	b.ReportMetric(deployed.Seconds(), "deployed-s")
	b.ReportMetric(restarted.Seconds(), "restarted-s")
	b.ReportMetric(float64(writes), "restart-writes")
	b.ReportMetric(calm[len(calm)/2].Seconds()*1e3, "written-p50-ms")
	b.ReportMetric(calm[len(calm)*99/100].Seconds()*1e3, "written-p99-ms")
	b.ReportMetric(busy[len(busy)/2].Seconds()*1e3, "busy-p50-ms")
	b.ReportMetric(busy[len(busy)-1].Seconds()*1e3, "busy-max-ms")
	b.ReportMetric(float64(max(peak, again))/1e6, "peak-MB")
	b.ReportMetric(0, "ns/op")
	b.Logf("%d devices: registered in %.1f s, deployed to all with status back in %.1f s (budget for 10,000: 60 s), peak %.0f MB (budget 500 MB)",
		n, registered.Seconds(), deployed.Seconds(), float64(max(peak, again))/1e6)
}

// register has all devices say what they are.
func (s *stack) register(ctx context.Context, ids []protocol.DeviceID) {
	s.Helper()
	work := make(chan protocol.DeviceID)
	var workers sync.WaitGroup
	for range 16 {
		workers.Go(func() {
			for id := range work {
				if err := errors.Join(s.devices.Info(ctx, id, map[string]string{"group": string(id)}), s.devices.Beat(id)); err != nil {
					s.Error(err)
				}
			}
		})
	}
	for _, id := range ids {
		work <- id
	}
	close(work)
	workers.Wait()
}

// beat has every device send a heartbeat every five seconds until ctx ends.
func (s *stack) beat(ctx context.Context, ids []protocol.DeviceID) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for range max(1, len(ids)/100) {
				_ = s.devices.Beat(ids[next%len(ids)])
				next++
			}
		}
	}
}

// watched waits for long, looking seldom enough not to be the load.
func (s *stack) watched(ctx context.Context, what string, check func(ctx context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("%s: %v", what, err)
		case <-tick.C:
		}
	}
}

// latencies measures how long it takes from a deployment to the desired state
// of the one device that it is for, count times, in order.
func (s *stack) latencies(name string, count int, ids []protocol.DeviceID) []time.Duration {
	s.Helper()
	var all []time.Duration
	for i := range count {
		id := ids[i*len(ids)/count]
		written := s.rung(id)
		began := time.Now()
		name := fmt.Sprintf("%s-%d", name, i)
		s.deploy(name, string(id), name)
		select {
		case <-written:
			all = append(all, time.Since(began))
		case <-time.After(deadline):
			s.Fatalf("the desired state of %s was not written", id)
		}
	}
	slices.Sort(all)
	return all
}

// rung returns a channel that is closed when a device's doorbell rings.
func (s *stack) rung(id protocol.DeviceID) <-chan struct{} {
	s.Helper()
	done, err := s.devices.Doorbell(id)
	s.must(err)
	return done
}

// settled waits until every deployment says that all of its devices succeeded,
// and n devices that they take their desired states.
func (s *stack) settled(ctx context.Context, n int) {
	s.Helper()
	s.watched(ctx, "all deployments", func(ctx context.Context) error {
		var all v1alpha1.DeploymentList
		if err := cluster.Client.List(ctx, &all); err != nil {
			return err
		}
		for i := range all.Items {
			if a := all.Items[i].Status.Aggregate; a.Matched == 0 || a.Succeeded != a.Matched {
				return fmt.Errorf("%s: %+v", all.Items[i].Name, a)
			}
		}
		return nil
	})
	s.watched(ctx, "all devices", func(ctx context.Context) error { return s.are(ctx, v1alpha1.DeviceAccepting, n) })
}

// are complains unless n devices have the condition.
func (s *stack) are(ctx context.Context, kind string, n int) error {
	var all v1alpha1.DeviceList
	if err := cluster.Client.List(ctx, &all); err != nil {
		return err
	}
	var have int
	for i := range all.Items {
		if meta.IsStatusConditionTrue(all.Items[i].Status.Conditions, kind) {
			have++
		}
	}
	if have < n {
		return fmt.Errorf("%d of %d devices are %s", have, n, kind)
	}
	return nil
}
