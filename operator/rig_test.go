package operator_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = 30 * time.Second

// stack is a broker, the devices on it, and an operator, on the shared cluster.
type stack struct {
	testing.TB
	broker   *operatortest.Broker
	devices  *operatortest.Devices
	operator *operatortest.Operator
	log      *log
}

// newStack starts a stack, whose operator is ready. It ends with the test.
func newStack(tb testing.TB, args ...string) *stack {
	tb.Helper()
	s := newBroker(tb)
	s.start(args...)
	return s
}

// newBroker starts a stack without an operator.
func newBroker(tb testing.TB) *stack {
	tb.Helper()
	s := &stack{TB: tb, log: new(log)}
	s.must(empty(tb.Context()))
	var err error
	s.broker, err = operatortest.StartBroker(tb.TempDir())
	s.must(err)
	tb.Cleanup(s.broker.Stop)
	s.devices, err = operatortest.NewDevices(s.broker)
	s.must(err)
	tb.Cleanup(s.devices.Close)
	tb.Cleanup(func() {
		if said := s.log.String(); strings.Contains(said, "DATA RACE") || strings.Contains(said, "panic:") || tb.Failed() {
			tb.Errorf("the operator said:\n%s", said)
		}
	})
	return s
}

// start starts an operator and waits until it is ready.
func (s *stack) start(args ...string) {
	s.Helper()
	var err error
	s.operator, err = operatortest.Start(program, cluster, s.broker, s.log, args...)
	s.must(err)
	operator := s.operator
	s.Cleanup(func() {
		if s.Failed() {
			operator.Dump()
		}
		operator.Kill()
	})
	ctx, cancel := context.WithTimeout(s.Context(), deadline)
	defer cancel()
	s.must(s.operator.Ready(ctx))
}

// restart stops the operator, asking it to, and starts another.
func (s *stack) restart(args ...string) {
	s.Helper()
	s.must(s.operator.Stop())
	s.start(args...)
}

// empty removes all devices and deployments, whoever still holds them.
func empty(ctx context.Context) error {
	var deployments v1alpha1.DeploymentList
	if err := cluster.Client.List(ctx, &deployments); err != nil {
		return err
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		released := d.DeepCopy()
		released.Finalizers = nil
		err := cluster.Client.Patch(ctx, released, client.MergeFrom(d))
		if err = errors.Join(client.IgnoreNotFound(err), client.IgnoreNotFound(cluster.Client.Delete(ctx, d))); err != nil {
			return err
		}
	}
	return cluster.Client.DeleteAllOf(ctx, &v1alpha1.Device{})
}

// must ends the test if there is an error.
func (s *stack) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// eventually waits until check finds nothing to complain about.
func (s *stack) eventually(what string, check func(ctx context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), deadline)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		// What the deadline cut off says nothing.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			s.Fatalf("%s: %v", what, last)
		case <-tick.C:
		}
	}
}

// join makes a device and waits for its resource.
func (s *stack) join(id protocol.DeviceID, labels map[string]string) {
	s.Helper()
	s.must(s.devices.Info(s.Context(), id, labels))
	s.must(s.devices.Beat(id))
	s.eventually("device "+string(id)+" joins", func(ctx context.Context) error {
		return isTrue(s.device(ctx, id))
	})
}

// beating sends a device's heartbeats until the returned function is called, or the
// test ends. Those sent while the broker is away are lost or late.
func (s *stack) beating(id protocol.DeviceID, every time.Duration) (stop func()) {
	s.Helper()
	ctx, cancel := context.WithCancel(s.Context())
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = s.devices.Beat(id)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	stop = func() { cancel(); group.Wait() }
	s.Cleanup(stop)
	return stop
}

// isTrue complains unless the device is Ready.
func isTrue(d *v1alpha1.Device, err error) error {
	if err != nil {
		return err
	}
	return condition(d.Status.Conditions, v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonHeartbeatReceived)
}

// condition complains unless the condition has the status and the reason.
func condition(all []metav1.Condition, kind string, status metav1.ConditionStatus, reason string) error {
	c := meta.FindStatusCondition(all, kind)
	if c == nil || c.Status != status || c.Reason != reason {
		return fmt.Errorf("condition %s is %+v, want %s %s", kind, c, status, reason)
	}
	return nil
}

func (s *stack) device(ctx context.Context, id protocol.DeviceID) (*v1alpha1.Device, error) {
	d := new(v1alpha1.Device)
	return d, cluster.Client.Get(ctx, client.ObjectKey{Name: string(id)}, d)
}

// deployment returns a deployment of containers for the devices with a label.
func deployment(name, group string, containers ...string) *v1alpha1.Deployment {
	d := &v1alpha1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if group != "" {
		d.Spec.Selector.MatchLabels = map[string]string{"group": group}
	}
	for _, c := range containers {
		d.Spec.Containers = append(d.Spec.Containers, v1alpha1.Container{Name: c, Image: "localhost/" + c + ":1"})
	}
	return d
}

// deploy makes a deployment.
func (s *stack) deploy(name, group string, containers ...string) *v1alpha1.Deployment {
	s.Helper()
	d := deployment(name, group, containers...)
	s.must(cluster.Client.Create(s.Context(), d))
	return d
}

// change changes a deployment's spec.
func (s *stack) change(d *v1alpha1.Deployment, edit func(*v1alpha1.DeploymentSpec)) {
	s.Helper()
	s.must(cluster.Client.Get(s.Context(), client.ObjectKeyFromObject(d), d))
	before := d.DeepCopy()
	edit(&d.Spec)
	s.must(cluster.Client.Patch(s.Context(), d, client.MergeFrom(before)))
}

// counts waits until the status is about the present spec and has these counts.
func (s *stack) counts(d *v1alpha1.Deployment, want v1alpha1.Aggregate) *v1alpha1.Deployment {
	s.Helper()
	now := new(v1alpha1.Deployment)
	s.eventually("status of "+d.Name, func(ctx context.Context) error {
		if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), now); err != nil {
			return err
		}
		if now.Status.ObservedGeneration != now.Generation || now.Status.Aggregate != want {
			return fmt.Errorf("generation %d, status %+v; want counts %+v", now.Generation, now.Status, want)
		}
		for _, c := range now.Status.Conditions {
			if c.ObservedGeneration != now.Generation {
				return fmt.Errorf("condition %+v is not about generation %d", c, now.Generation)
			}
		}
		return nil
	})
	return now
}

// runs waits until the device is asked for exactly these containers, and
// returns the revision.
func (s *stack) runs(id protocol.DeviceID, containers ...string) (*protocol.DesiredState, uint64) {
	s.Helper()
	var state *protocol.DesiredState
	var revision uint64
	s.eventually("desired state of "+string(id), func(ctx context.Context) error {
		var err error
		state, revision, err = s.devices.Desired(ctx, id)
		if err != nil {
			return err
		}
		if got := names(state); !slices.Equal(got, containers) {
			return fmt.Errorf("at revision %d it asks for %v, want %v", revision, got, containers)
		}
		return nil
	})
	return state, revision
}

// names are the containers of a state, in order.
func names(state *protocol.DesiredState) []string {
	if state == nil {
		return nil
	}
	var all []string
	for _, c := range state.Containers {
		all = append(all, c.Name)
	}
	slices.Sort(all)
	return all
}

// answer has a device say that everything it is asked for now is in phase,
// except for some containers.
func (s *stack) answer(id protocol.DeviceID, except map[string]protocol.ContainerStatus) {
	s.Helper()
	state, revision, err := s.devices.Desired(s.Context(), id)
	s.must(err)
	status := operatortest.Running(id, revision, state)
	for i, c := range status.Containers {
		if e, ok := except[c.Name]; ok {
			e.Name, e.Deployment = c.Name, c.Deployment
			status.Containers[i] = e
		}
	}
	s.must(s.devices.Status(s.Context(), status))
}

// gone waits until the deployment is gone.
func (s *stack) gone(d *v1alpha1.Deployment) {
	s.Helper()
	s.eventually(d.Name+" goes", func(ctx context.Context) error {
		err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), new(v1alpha1.Deployment))
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is still there: %w", err)
	})
}

// versions are the resource versions of everything in the cluster, and what was
// ever written to the desired states.
func (s *stack) versions() map[string]string {
	s.Helper()
	all := make(map[string]string)
	var devices v1alpha1.DeviceList
	s.must(cluster.Client.List(s.Context(), &devices))
	for _, d := range devices.Items {
		all["device "+d.Name] = d.ResourceVersion
	}
	var deployments v1alpha1.DeploymentList
	s.must(cluster.Client.List(s.Context(), &deployments))
	for _, d := range deployments.Items {
		all["deployment "+d.Name] = d.ResourceVersion
	}
	writes, err := s.devices.Writes(s.Context(), protocol.BucketDesired)
	s.must(err)
	all["desired states"] = fmt.Sprint(writes)
	return all
}

// unchanged asserts that nothing was written since, witnesses apart.
func (s *stack) unchanged(before map[string]string, witnesses ...string) {
	s.Helper()
	now := s.versions()
	for _, w := range witnesses {
		delete(before, w)
		delete(now, w)
	}
	if !maps.Equal(before, now) {
		s.Errorf("it was written to: before %v, now %v", before, now)
	}
}

// witness returns when a new device's heartbeat has arrived in the cluster: what
// was said before it on the same subject has been heard.
func (s *stack) witness(id protocol.DeviceID) string {
	s.Helper()
	s.join(id, nil)
	return "device " + string(id)
}

// log keeps what the operator says.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
