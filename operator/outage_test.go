package operator_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/internal/operatortest"
	"github.com/seatrial/seatrial/protocol"
)

// outage stops the broker, has meanwhile happen, and starts it again.
func (s *stack) outage(meanwhile func()) {
	s.Helper()
	s.broker.Stop()
	s.unready("the connection to the broker is")
	meanwhile()
	s.must(s.broker.Start())
	s.back()
}

// unready waits until the operator says that it is not ready. Why stands in its
// log, since probes tell only those inside.
func (s *stack) unready(why string) {
	s.Helper()
	s.eventually("the operator says that it is not ready", func(ctx context.Context) error {
		err := s.operator.Probe(ctx, "readyz?verbose")
		if err == nil {
			return errors.New("readyz says that it is")
		}
		if !strings.Contains(err.Error(), "[-]broker failed") {
			return err
		}
		if !strings.Contains(s.log.String(), why) {
			return fmt.Errorf("the log does not say %q", why)
		}
		return s.operator.Probe(ctx, "healthz")
	})
}

// back waits until operator and devices have the broker back.
func (s *stack) back() {
	s.Helper()
	s.eventually("the operator has the broker back", func(ctx context.Context) error {
		return s.operator.Probe(ctx, "readyz")
	})
	s.eventually("the devices have the broker back", s.devices.Connected)
}

// caughtUp waits until a device that joins now is known, so that what happened
// before has been seen.
func (s *stack) caughtUp(id protocol.DeviceID) {
	s.Helper()
	s.eventually("device "+string(id)+" joins", func(ctx context.Context) error {
		d, err := s.device(ctx, id)
		if err == nil {
			return isTrue(d, nil)
		}
		return errors.Join(err, s.devices.Info(ctx, id, nil), s.devices.Beat(id))
	})
}

// every watches a deployment until the returned function is called, which
// returns every status that was seen.
func (s *stack) every(d *v1alpha1.Deployment) func() []v1alpha1.Aggregate {
	s.Helper()
	w, err := cluster.Client.Watch(s.Context(), new(v1alpha1.DeploymentList), client.InNamespace(d.Namespace),
		client.MatchingFields{"metadata.name": d.Name})
	s.must(err)
	seen := make(chan []v1alpha1.Aggregate, 1)
	go func() {
		var all []v1alpha1.Aggregate
		for event := range w.ResultChan() {
			if now, ok := event.Object.(*v1alpha1.Deployment); ok && event.Type != watch.Deleted {
				all = append(all, now.Status.Aggregate)
			}
		}
		seen <- all
	}()
	return func() []v1alpha1.Aggregate {
		w.Stop()
		return <-seen
	}
}

// TestTheBrokerComesLate starts an operator long before there is a broker.
func TestTheBrokerComesLate(t *testing.T) {
	s := newBroker(t)
	s.broker.Stop()
	var err error
	s.operator, err = operatortest.Start(program, cluster, s.broker, s.log)
	s.must(err)
	t.Cleanup(s.operator.Kill)
	s.unready("the connection to the broker is RECONNECTING")
	d := s.deploy("early", "a", "app")
	s.must(s.broker.Start())
	s.back()
	s.join("device-1", map[string]string{"group": "a"})
	s.runs("device-1", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
}

// TestTheClusterChangesDuringAnOutage writes nothing to a broker that is away,
// and everything when it is back.
func TestTheClusterChangesDuringAnOutage(t *testing.T) {
	const timeout = 4 * time.Second
	s := newStack(t, "--heartbeat-timeout", timeout.String())
	s.beating("device-1", timeout/20)
	s.join("device-1", map[string]string{"group": "a"})
	changed, deleted := s.deploy("changed", "a", "app"), s.deploy("deleted", "a", "old")
	s.runs("device-1", "app", "old")
	s.answer("device-1", nil)
	s.counts(changed, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	before, err := s.device(t.Context(), "device-1")
	s.must(err)
	s.outage(func() {
		s.change(changed, func(spec *v1alpha1.DeploymentSpec) { spec.Containers[0].Image = "localhost/app:2" })
		s.must(cluster.Client.Delete(t.Context(), deleted))
		s.deploy("added", "", "more")
		s.counts(changed, v1alpha1.Aggregate{Matched: 1, Pending: 1})
		// The outage lasts longer than a device may be silent.
		<-time.After(timeout + timeout/4)
		s.must(cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(deleted), deleted))
	})
	s.gone(deleted)
	if state, _ := s.runs("device-1", "app", "more"); state.Containers[0].Image != "localhost/app:2" {
		t.Errorf("the device is asked for %+v", state.Containers)
	}
	s.answer("device-1", nil)
	s.counts(changed, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	after, err := s.device(t.Context(), "device-1")
	s.must(err)
	was, is := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.DeviceReady), meta.FindStatusCondition(after.Status.Conditions, v1alpha1.DeviceReady)
	if is.Status != "True" || !is.LastTransitionTime.Equal(&was.LastTransitionTime) {
		t.Errorf("the broker's outage was taken for the device's: %+v, before %+v", is, was)
	}
}

// TestWhatIsNotWrittenIsNotComplete deploys while the broker is away: the device cannot
// know of it, and its resource does not say that its desired state has it.
func TestWhatIsNotWrittenIsNotComplete(t *testing.T) {
	s := newStack(t)
	s.join("device-1", map[string]string{"group": "a"})
	s.deploy("first", "a", "app")
	s.runs("device-1", "app")
	is := func(status metav1.ConditionStatus, reason string) {
		t.Helper()
		s.eventually("the device is "+reason, func(ctx context.Context) error {
			d, err := s.device(ctx, "device-1")
			return errors.Join(err, condition(d.Status.Conditions, v1alpha1.DeviceComplete, status, reason))
		})
	}
	is(metav1.ConditionTrue, "Complete")
	s.outage(func() {
		s.deploy("second", "a", "more")
		is(metav1.ConditionFalse, "NotWritten")
	})
	s.runs("device-1", "app", "more")
	is(metav1.ConditionTrue, "Complete")
}

// TestADeviceIsNotMissedBeforeItsTurn: after an outage devices come back over the
// spread that they were told, which is longer than they may be silent.
func TestADeviceIsNotMissedBeforeItsTurn(t *testing.T) {
	const timeout = time.Second
	s := newStack(t, "--heartbeat-timeout", timeout.String(), "--admissions-per-second", "1")
	silence := s.beating("device-1", timeout/20)
	const devices = 10
	for i := range devices {
		s.join(protocol.DeviceID(fmt.Sprintf("device-%d", i+1)), nil)
	}
	s.eventually("the spread is published", func(context.Context) error {
		if !strings.Contains(s.log.String(), fmt.Sprintf(`"devices":%d`, devices)) {
			return errors.New("the log does not say so")
		}
		return nil
	})
	s.must(isTrue(s.device(t.Context(), "device-1")))
	before, err := s.device(t.Context(), "device-1")
	s.must(err)
	s.outage(silence)
	// It is silent for longer than it may be, and a third of the spread.
	<-time.After(3 * timeout)
	silence = s.beating("device-1", timeout/20)
	s.caughtUp("witness")
	after, err := s.device(t.Context(), "device-1")
	s.must(err)
	was, is := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.DeviceReady), meta.FindStatusCondition(after.Status.Conditions, v1alpha1.DeviceReady)
	if is.Status != "True" || !is.LastTransitionTime.Equal(&was.LastTransitionTime) {
		t.Errorf("a device that waits for its turn was taken for missing: %+v, before %+v", is, was)
	}
	// When all turns are over, it is missed as ever.
	silence()
	s.eventually("the device is missing", func(ctx context.Context) error {
		d, err := s.device(ctx, "device-1")
		return errors.Join(err, condition(d.Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionFalse, v1alpha1.ReasonHeartbeatMissing))
	})
}

// TestTheBrokerLosesEverything brings an empty broker back.
func TestTheBrokerLosesEverything(t *testing.T) {
	s := newStack(t)
	s.join("device-1", map[string]string{"group": "a"})
	s.join("device-2", map[string]string{"group": "a"})
	s.join("device-3", map[string]string{"group": "b"})
	d := s.deploy("web", "a", "app")
	for _, id := range []protocol.DeviceID{"device-1", "device-2"} {
		s.runs(id, "app")
		s.answer(id, nil)
	}
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 2})
	seen := s.every(d)
	s.outage(func() { s.must(s.broker.Lose()) })
	state, revision := s.runs("device-1", "app")
	s.runs("device-2", "app")
	if state, revision, err := s.devices.Desired(t.Context(), "device-3"); err != nil || state != nil || revision != 0 {
		t.Errorf("a device that nothing selects has %v at revision %d (%v)", state, revision, err)
	}
	// Until devices answer, nobody knows; an answer to a revision of the broker's
	// former life is none.
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Pending: 2})
	s.must(s.devices.Status(t.Context(), operatortest.Running("device-1", revision+1000, state)))
	// The device that follows it would refuse what has a lower one.
	s.eventually("the document says what it takes the place of", func(ctx context.Context) error {
		state, at, err := s.devices.Desired(ctx, "device-1")
		if err != nil {
			return err
		}
		if state == nil || state.RollbackFrom != revision+1000 || len(state.Containers) != 1 {
			return fmt.Errorf("at revision %d it is %+v", at, state)
		}
		return nil
	})
	s.answer("device-2", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Pending: 1, Succeeded: 1})
	s.answer("device-1", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 2})
	for _, a := range seen() {
		if a.Matched != 2 || a.Failed != 0 {
			t.Errorf("meanwhile the status said %+v", a)
		}
	}
	for id, group := range map[protocol.DeviceID]string{"device-1": "a", "device-2": "a", "device-3": "b"} {
		device, err := s.device(t.Context(), id)
		s.must(err)
		if device.Labels["group"] != group || device.Status.Facts.AgentVersion != "v1" {
			t.Errorf("device %s is %+v now", id, device)
		}
	}
	// The operator may be started anew before the devices have said again what
	// they are.
	s.restart()
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 2})
}

// TestTheBrokerIsTakenBack brings a broker back with what it had some time ago.
func TestTheBrokerIsTakenBack(t *testing.T) {
	s := newStack(t)
	s.join("device-1", map[string]string{"group": "a"})
	d := s.deploy("web", "a", "app")
	s.runs("device-1", "app")
	s.outage(func() { s.must(s.broker.Save()) })
	added := s.deploy("more", "a", "more")
	s.runs("device-1", "app", "more")
	s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Containers[0].Name = "renamed" })
	s.runs("device-1", "more", "renamed")
	s.answer("device-1", nil)
	s.counts(added, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.outage(func() { s.must(s.broker.Restore()) })
	s.runs("device-1", "more", "renamed")
	s.counts(added, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.answer("device-1", nil)
	s.counts(added, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
}

// TestRestartsChangeNothing stops and kills operators: no status flaps, and
// nothing is written.
func TestRestartsChangeNothing(t *testing.T) {
	s := newStack(t)
	const n = 30
	d := s.deploy("web", "a", "app")
	for i := range n {
		id := protocol.DeviceID(fmt.Sprintf("device-%d", i))
		s.must(s.devices.Info(t.Context(), id, map[string]string{"group": "a"}))
		s.must(s.devices.Beat(id))
	}
	for i := range n {
		id := protocol.DeviceID(fmt.Sprintf("device-%d", i))
		s.runs(id, "app")
		s.answer(id, nil)
	}
	s.counts(d, v1alpha1.Aggregate{Matched: n, Succeeded: n})
	s.caughtUp("witness-0")
	seen, before := s.every(d), s.versions()
	witnesses := []string{"device witness-0", "device witness-1", "device witness-2"}
	s.restart()
	s.caughtUp("witness-1")
	s.operator.Kill()
	s.start()
	s.caughtUp("witness-2")
	other := s.deploy("other", "nobody", "app")
	s.counts(other, v1alpha1.Aggregate{})
	s.must(cluster.Client.Delete(t.Context(), other))
	s.gone(other)
	s.unchanged(before, witnesses...)
	for _, a := range seen() {
		if (a != v1alpha1.Aggregate{Matched: n, Succeeded: n}) {
			t.Errorf("meanwhile the status said %+v", a)
		}
	}
}

// TestForeignWritesAreCorrected has somebody else write desired states.
func TestForeignWritesAreCorrected(t *testing.T) {
	s := newStack(t)
	s.join("device-1", map[string]string{"group": "a"})
	s.join("device-2", map[string]string{"group": "b"})
	d := s.deploy("web", "a", "app")
	state, revision := s.runs("device-1", "app")
	s.answer("device-1", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	foreign := *state
	foreign.Containers = []protocol.Container{state.Containers[0]}
	foreign.Containers[0].Image = "localhost/foreign:1"
	document, err := foreign.Encode()
	s.must(err)
	for name, write := range map[string]func() error{
		"a document": func() error {
			_, err := s.devices.Publish(t.Context(), protocol.BucketDesired, "device-1", document)
			return err
		},
		"rubbish": func() error {
			_, err := s.devices.Publish(t.Context(), protocol.BucketDesired, "device-1", []byte("rubbish"))
			return err
		},
		"nothing": func() error {
			_, err := s.devices.Publish(t.Context(), protocol.BucketDesired, "device-1", nil)
			return err
		},
		"a deletion": func() error { return s.devices.Delete(t.Context(), protocol.BucketDesired, "device-1") },
	} {
		s.must(write())
		s.eventually("the operator corrects "+name, func(ctx context.Context) error {
			now, at, err := s.devices.Desired(ctx, "device-1")
			if err != nil {
				return err
			}
			if at < revision+2 || now == nil || len(now.Containers) != 1 || now.Containers[0].Image != state.Containers[0].Image {
				return fmt.Errorf("at revision %d it is %+v", at, now)
			}
			revision = at
			return nil
		})
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
		s.answer("device-1", nil)
		s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	}
	// Where nothing should run, what somebody wrote is taken away again.
	foreign.Device = "device-2"
	document, err = foreign.Encode()
	s.must(err)
	_, err = s.devices.Publish(t.Context(), protocol.BucketDesired, "device-2", document)
	s.must(err)
	s.runs("device-2")
}

// TestOneOfTwoOperatorsWorks hands the work over from one to the other.
func TestOneOfTwoOperatorsWorks(t *testing.T) {
	elect := []string{"--leader-elect", "--leader-election-namespace", operatortest.LeaderNamespace}
	s := newStack(t, elect...)
	first := s.operator
	s.join("device-1", map[string]string{"group": "a"})
	s.start(elect...) // The second is ready while it waits for its turn.
	s.deploy("web", "a", "app")
	s.runs("device-1", "app")
	s.must(s.devices.Info(t.Context(), "device-2", map[string]string{"group": "a"}))
	s.must(first.Stop())
	s.deploy("more", "a", "more")
	s.runs("device-1", "app", "more")
	s.runs("device-2", "app", "more")
}

// TestAPortThatIsTakenIsAnError ends an operator that cannot serve its probes.
func TestAPortThatIsTakenIsAnError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newBroker(t)
	s.operator, err = operatortest.Start(program, cluster, s.broker, s.log, "--health-probe-bind-address", l.Addr().String())
	s.must(err)
	t.Cleanup(s.operator.Kill)
	s.eventually("the operator ends", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := s.operator.Ready(ctx); err == nil || !strings.Contains(err.Error(), "it has ended") {
			return fmt.Errorf("it goes on: %w", err)
		}
		return nil
	})
	if said := s.log.String(); !strings.Contains(said, "address already in use") {
		t.Errorf("the operator does not say why it ends:\n%s", said)
	}
}
