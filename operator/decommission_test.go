package operator_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// decommission sets or, without a reason, takes away what a resource says.
func (s *stack) decommission(id protocol.DeviceID, reason string) {
	s.Helper()
	d, err := s.device(s.Context(), id)
	s.must(err)
	before := d.DeepCopy()
	d.Spec.Decommissioned = nil
	if reason != "" {
		d.Spec.Decommissioned = &v1alpha1.Decommission{Reason: reason}
	}
	s.must(cluster.Client.Patch(s.Context(), d, client.MergeFrom(before)))
}

// denied waits until the device is on the deny list for a reason, or, without one,
// is not, and its resource says so.
func (s *stack) denied(id protocol.DeviceID, reason, why string) *protocol.Denial {
	s.Helper()
	var entry *protocol.Denial
	s.eventually(fmt.Sprintf("%s is denied for %q", id, reason), func(ctx context.Context) error {
		var err error
		if entry, err = s.devices.Denial(ctx, id); err != nil {
			return err
		}
		if listed := entry != nil; listed != (reason != "") || listed && entry.Reason != reason {
			return fmt.Errorf("the entry is %+v", entry)
		}
		d, err := s.device(ctx, id)
		if err != nil {
			return err
		}
		status := metav1.ConditionFalse
		if reason != "" {
			status = metav1.ConditionTrue
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceDecommissioned, status, why)
	})
	return entry
}

// byHand puts a device on the deny list, or takes it off, as people do.
func (s *stack) byHand(id protocol.DeviceID, reason string) {
	s.Helper()
	if reason == "" {
		s.must(s.devices.Delete(s.Context(), protocol.BucketDenied, id))
		return
	}
	entry := &protocol.Denial{Version: protocol.Version, Device: id, By: "alice", Reason: reason, Time: time.Now()}
	data, err := entry.Encode()
	s.must(err)
	_, err = s.devices.Publish(s.Context(), protocol.BucketDenied, id, data)
	s.must(err)
}

func TestDecommissionBySpec(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "a"})
	s.deploy("d", "a", "app")
	_, revision := s.runs("one", "app")
	s.decommission("one", "it was stolen")
	if entry := s.denied("one", "it was stolen", v1alpha1.ReasonBySpec); entry.By != "fleet-operator" || entry.Device != "one" {
		t.Errorf("the entry is %+v", entry)
	}
	s.decommission("one", "it was sold")
	s.denied("one", "it was sold", v1alpha1.ReasonBySpec)

	// What is asked of it stays, and others keep all they had.
	if _, now := s.runs("one", "app"); now != revision {
		t.Errorf("its desired state went from revision %d to %d", revision, now)
	}
	if entry, err := s.devices.Denial(t.Context(), "two"); err != nil || entry != nil {
		t.Errorf("another device: %+v, %v", entry, err)
	}
	two, err := s.device(t.Context(), "two")
	s.must(err)
	if c := meta.FindStatusCondition(two.Status.Conditions, v1alpha1.DeviceDecommissioned); c != nil {
		t.Errorf("another device says %+v", c)
	}

	// Another operator goes on, also with what changed while none ran.
	s.restart()
	s.denied("one", "it was sold", v1alpha1.ReasonBySpec)
	s.must(s.operator.Stop())
	s.decommission("one", "")
	s.start()
	s.denied("one", "", v1alpha1.ReasonAdmitted)
}

func TestDecommissionByHandIsToldAndLeftAlone(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	s.byHand("one", "it was lost")
	s.denied("one", "it was lost", v1alpha1.ReasonByHand)

	// The spec may say the same; taking that back does not undo what was done by
	// hand.
	s.decommission("one", "me too")
	s.denied("one", "it was lost", v1alpha1.ReasonByHand)
	s.decommission("one", "")
	s.witness("two")
	s.denied("one", "it was lost", v1alpha1.ReasonByHand)

	s.byHand("one", "")
	s.denied("one", "", v1alpha1.ReasonAdmitted)

	// Nor does taking it off by hand undo what the spec says.
	s.decommission("one", "it was stolen")
	s.denied("one", "it was stolen", v1alpha1.ReasonBySpec)
	s.byHand("one", "")
	s.denied("one", "it was stolen", v1alpha1.ReasonBySpec)
}

// The resource of a device that is kept out can be deleted for good, also for an
// operator that starts afterwards. That takes nobody off the list: who wants the
// device back says so, by the list or by a resource that takes over and lets go.
func TestDecommissionOutlivesTheResource(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	s.decommission("one", "it was stolen")
	s.denied("one", "it was stolen", v1alpha1.ReasonBySpec)
	old, err := s.device(t.Context(), "one")
	s.must(err)
	s.must(cluster.Client.Delete(t.Context(), old))
	gone := func(witness protocol.DeviceID) {
		t.Helper()
		s.must(s.devices.Info(t.Context(), "one", map[string]string{"seen-by": string(witness)}))
		s.join(witness, nil)
		if _, err := s.device(t.Context(), "one"); !apierrors.IsNotFound(err) {
			t.Errorf("the resource is there: %v", err)
		}
		if entry, err := s.devices.Denial(t.Context(), "one"); err != nil || entry == nil {
			t.Errorf("the entry is %+v, %v", entry, err)
		}
	}
	gone("two")
	s.restart()
	gone("three")

	s.must(cluster.Client.Create(t.Context(), &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: "one"}}))
	s.denied("one", "it was stolen", v1alpha1.ReasonByHand)
	s.decommission("one", "it is being looked for")
	s.denied("one", "it is being looked for", v1alpha1.ReasonBySpec)
	made, err := s.device(t.Context(), "one")
	s.must(err)
	s.must(cluster.Client.Delete(t.Context(), made))
	gone("four") // lest the operator acts on what it has not seen to be gone
	s.byHand("one", "")
	s.labelled("one", map[string]string{"seen-by": "four"})
}

// What was decided while the broker was away is written once it is back.
func TestDecommissionDuringAnOutage(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	s.broker.Stop()
	s.decommission("one", "it was stolen")
	s.eventually("it says that it waits", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceDecommissioned, metav1.ConditionFalse, v1alpha1.ReasonPending)
	})
	s.must(s.broker.Start())
	s.denied("one", "it was stolen", v1alpha1.ReasonBySpec)
}

// An entry that cannot be read denies.
func TestUnreadableDenialIsTold(t *testing.T) {
	s := newStack(t)
	s.join("one", nil)
	_, err := s.devices.Publish(t.Context(), protocol.BucketDenied, "one", []byte("x"))
	s.must(err)
	s.eventually("it is told", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceDecommissioned, metav1.ConditionTrue, v1alpha1.ReasonByHand)
	})
}

// A device that is kept out is not waited for: neither for what it has not answered nor
// for being silent, whoever keeps it out. It counts again when it is let back in.
func TestADeviceThatIsKeptOutIsNotCounted(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.runs("two", "app")
	s.answer("two", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 1, Pending: 1})

	s.decommission("one", "it was stolen")
	now := s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.must(condition(now.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionTrue, "AllSucceeded"))
	s.restart()
	s.change(d, func(spec *v1alpha1.DeploymentSpec) { spec.Containers[0].Image = "localhost/app:2" })
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.decommission("one", "")
	s.counts(d, v1alpha1.Aggregate{Matched: 2, Pending: 2})

	s.byHand("two", "it was lost")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	s.byHand("one", "so was that")
	now = s.counts(d, v1alpha1.Aggregate{})
	s.must(condition(now.Status.Conditions, v1alpha1.DeploymentReady, metav1.ConditionFalse, "NoDeviceMatches"))
	s.byHand("two", "")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
}
