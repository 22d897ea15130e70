package operator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// labelled waits until a device carries exactly these labels.
func (s *stack) labelled(id protocol.DeviceID, want map[string]string) {
	s.Helper()
	s.eventually("labels of "+string(id), func(ctx context.Context) error {
		d, err := s.device(ctx, id)
		if err != nil {
			return err
		}
		if !maps.Equal(d.Labels, want) {
			return fmt.Errorf("they are %v, want %v", d.Labels, want)
		}
		return nil
	})
}

// accepts waits until it is known that the device takes its desired state.
func (s *stack) accepts(id protocol.DeviceID) {
	s.Helper()
	s.eventually(string(id)+" accepts", func(ctx context.Context) error {
		d, err := s.device(ctx, id)
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceAccepting, metav1.ConditionTrue, "Accepted")
	})
}

// label sets labels on a device as an administrator does; "" removes one.
func (s *stack) label(id protocol.DeviceID, labels map[string]string) {
	s.Helper()
	d, err := s.device(s.Context(), id)
	s.must(err)
	before := d.DeepCopy()
	if d.Labels == nil {
		d.Labels = make(map[string]string)
	}
	for k, v := range labels {
		d.Labels[k] = v
		if v == "" {
			delete(d.Labels, k)
		}
	}
	s.must(cluster.Client.Patch(s.Context(), d, client.MergeFrom(before), client.FieldOwner("kubectl-label")))
}

// TestDeviceAppears follows a device from its first word.
func TestDeviceAppears(t *testing.T) {
	s := newStack(t)
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "a", "example.com/zone": ""}))
	s.labelled("one", map[string]string{"group": "a", "example.com/zone": ""})
	s.eventually("status", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(d.Status.Facts, v1alpha1.DeviceFacts{AgentVersion: "v1", CPUs: 2}) {
			return fmt.Errorf("facts %+v", d.Status.Facts)
		}
		return errors.Join(
			condition(d.Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionUnknown, v1alpha1.ReasonNeverSeen),
			condition(d.Status.Conditions, v1alpha1.DeviceAccepting, metav1.ConditionUnknown, "NoStatus"),
			condition(d.Status.Conditions, v1alpha1.DeviceComplete, metav1.ConditionTrue, "Complete"),
		)
	})
	s.must(s.devices.Beat("one"))
	s.eventually("ready", func(ctx context.Context) error { return isTrue(s.device(ctx, "one")) })
}

// TestLabels shows that the labels a device claims follow its claim, and that
// those of an administrator are left alone, also by another operator.
func TestLabels(t *testing.T) {
	s := newStack(t)
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "a", "old": "yes"}))
	s.labelled("one", map[string]string{"group": "a", "old": "yes"})
	s.label("one", map[string]string{"site": "hamburg"})

	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "b"}))
	s.labelled("one", map[string]string{"group": "b", "site": "hamburg"})

	s.label("one", map[string]string{"group": "mine"})
	s.labelled("one", map[string]string{"group": "b", "site": "hamburg"})
	s.label("one", map[string]string{"group": ""})
	s.labelled("one", map[string]string{"group": "b", "site": "hamburg"})

	s.must(s.operator.Stop())
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"new": "yes"}))
	s.start()
	s.labelled("one", map[string]string{"new": "yes", "site": "hamburg"})
	s.label("one", map[string]string{"site": ""})
	s.labelled("one", map[string]string{"new": "yes"})
}

// TestHeartbeats shows that heartbeats are not written, and that their absence
// is, once.
func TestHeartbeats(t *testing.T) {
	s := newStack(t, "--heartbeat-timeout", "3s")
	silence := s.beating("one", 100*time.Millisecond)
	s.join("one", nil)
	s.deploy("d", "", "app")
	s.runs("one", "app")
	s.answer("one", nil)
	s.counts(deployment("d", ""), v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.accepts("one")

	before := s.versions()
	for range 100 {
		s.must(s.devices.Beat("one"))
	}
	// The witness is matched too: only the device is looked at.
	s.witness("two")
	now := s.versions()
	if was, is := before["device one"], now["device one"]; was != is {
		t.Errorf("100 heartbeats moved the device from version %s to %s", was, is)
	}
	silence()

	s.eventually("the device is missing", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		return condition(d.Status.Conditions, v1alpha1.DeviceReady, metav1.ConditionFalse, v1alpha1.ReasonHeartbeatMissing)
	})
	s.must(s.devices.Beat("one"))
	s.eventually("the device is back", func(ctx context.Context) error { return isTrue(s.device(ctx, "one")) })
}

// TestSilenceIsNoSuccess shows that a deployment is not Ready on the word of a device
// that is not heard any more, also of an operator that has just started.
func TestSilenceIsNoSuccess(t *testing.T) {
	args := []string{"--heartbeat-timeout", "3s"}
	s := newStack(t, args...)
	silence := s.beating("one", 100*time.Millisecond)
	s.join("one", nil)
	d := s.deploy("d", "", "app")
	s.runs("one", "app")
	s.answer("one", nil)
	is := func(status metav1.ConditionStatus, reason string) {
		t.Helper()
		s.eventually("the deployment is "+reason, func(ctx context.Context) error {
			now := new(v1alpha1.Deployment)
			if err := cluster.Client.Get(ctx, client.ObjectKeyFromObject(d), now); err != nil {
				return err
			}
			return condition(now.Status.Conditions, v1alpha1.DeploymentReady, status, reason)
		})
	}
	is(metav1.ConditionTrue, "AllSucceeded")
	silence()
	is(metav1.ConditionFalse, "DevicesSilent")
	// What it said last is still told.
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	var early bool
	s.watch(d, func(now *v1alpha1.Deployment) {
		early = early || meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.DeploymentReady)
	}, func() {
		s.restart(args...)
		// It is counted anew before it can be known who is silent.
		s.join("two", nil)
		s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 1, Pending: 1})
		s.runs("two", "app")
		s.answer("two", nil)
		s.beating("two", 100*time.Millisecond)
		s.counts(d, v1alpha1.Aggregate{Matched: 2, Succeeded: 2})
		is(metav1.ConditionFalse, "DevicesSilent")
	})
	if early {
		t.Error("a new operator took the word of a silent device for success")
	}
	s.beating("one", 100*time.Millisecond)
	is(metav1.ConditionTrue, "AllSucceeded")
}

// TestRepetition shows that a device which says the same again causes no write.
func TestRepetition(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.answer("one", nil)
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Succeeded: 1})
	s.accepts("one")

	before := s.versions()
	for range 20 {
		s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "a"}))
		s.answer("one", nil)
		s.must(s.devices.Beat("one"))
	}
	s.unchanged(before, s.witness("two"))
}

// TestDeviceDeleted shows that a device which is still known comes back without
// having lost anything, and that one which is not stays away and runs nothing.
func TestDeviceDeleted(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	s.deploy("d", "a", "app")
	_, revision := s.runs("one", "app")
	old, err := s.device(t.Context(), "one")
	s.must(err)

	s.must(cluster.Client.Delete(t.Context(), old))
	s.eventually("the device comes back", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err == nil && d.UID == old.UID {
			err = errors.New("it is the one that was deleted")
		}
		return isTrue(d, err)
	})
	if _, now := s.runs("one", "app"); now != revision {
		t.Errorf("the desired state was written again: revision %d, then %d", revision, now)
	}

	s.must(s.devices.Delete(t.Context(), protocol.BucketInfo, "one"))
	s.must(s.devices.Info(t.Context(), "two", nil))
	s.labelled("two", nil)
	d, err := s.device(t.Context(), "one")
	s.must(err)
	s.runs("one", "app")
	s.must(cluster.Client.Delete(t.Context(), d))
	if _, revision := s.runs("one"); revision == 0 {
		t.Error("the desired state left no deletion mark")
	}
	if _, err := s.device(t.Context(), "one"); !apierrors.IsNotFound(err) {
		t.Errorf("the device came back: %v", err)
	}
}

// TestHostileInfo shows that what cannot be read, or lies, changes nothing.
func TestHostileInfo(t *testing.T) {
	s := newStack(t)
	s.join("one", map[string]string{"group": "a"})
	d := s.deploy("d", "a", "app")
	s.runs("one", "app")
	s.counts(d, v1alpha1.Aggregate{Matched: 1, Pending: 1})
	before := s.versions()

	bad := map[string]string{
		"empty":               ``,
		"no JSON":             `{`,
		"another type":        `[]`,
		"an unknown field":    `{"version":1,"device":"one","facts":{},"labels":{},"admin":true}`,
		"another version":     `{"version":2,"device":"one","facts":{}}`,
		"another device":      `{"version":1,"device":"two","facts":{},"labels":{"group":"b"}}`,
		"a hostile name":      `{"version":1,"device":"../one","facts":{}}`,
		"two documents":       `{"version":1,"device":"one","facts":{}}{}`,
		"a bad label":         `{"version":1,"device":"one","facts":{},"labels":{"a b":"c"}}`,
		"half a label":        `{"version":1,"device":"one","facts":{},"labels":{"a..b/c":"d"}}`,
		"a long label":        `{"version":1,"device":"one","facts":{},"labels":{"a":"` + strings.Repeat("x", 64) + `"}}`,
		"a number as a label": `{"version":1,"device":"one","facts":{},"labels":{"a":1}}`,
		"negative memory":     `{"version":1,"device":"one","facts":{"memoryBytes":-1}}`,
		"a long kernel":       `{"version":1,"device":"one","facts":{"kernel":"` + strings.Repeat("x", 5000) + `"}}`,
	}
	for name, document := range bad {
		s.refuses(name, protocol.BucketInfo, document, "one", "three")
	}
	refused := s.refused()
	beats := []string{``, `{`, `{"version":1,"device":"two","time":"2026-01-01T00:00:00Z"}`, `{"version":1,"device":"one"}`}
	for _, beat := range beats {
		s.must(s.devices.Say(protocol.HeartbeatSubject("one"), []byte(beat)))
	}
	s.eventually("heartbeats are refused", func(context.Context) error {
		if got, want := s.refused(), refused+float64(len(beats)); got != want {
			return fmt.Errorf("%v were refused, want %v", got, want)
		}
		return nil
	})
	s.unchanged(before, s.witness("four"))
	for _, id := range []protocol.DeviceID{"two", "three"} {
		if _, err := s.device(t.Context(), id); !apierrors.IsNotFound(err) {
			t.Errorf("device %s appeared: %v", id, err)
		}
	}
	// What was good is still in use, and what comes next is read.
	s.label("one", map[string]string{"group": "mine"})
	s.labelled("one", map[string]string{"group": "a"})
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "b"}))
	s.labelled("one", map[string]string{"group": "b"})
	s.runs("one")
}

// TestLabelsOfTheAdministrator shows that no device can claim what only an
// administrator may say of it, as secrets may hang on that.
func TestLabelsOfTheAdministrator(t *testing.T) {
	s := newStack(t)
	const key = protocol.AdminLabelPrefix + "vault"
	s.join("one", map[string]string{"group": "a"})
	s.join("two", map[string]string{"group": "a"})
	s.label("one", map[string]string{key: "yes"})
	d := deployment("d", "", "app")
	d.Spec.Selector.MatchLabels = map[string]string{key: "yes"}
	s.must(cluster.Client.Create(t.Context(), d))
	s.runs("one", "app")
	for name, claim := range map[string]string{"it": "yes", "another value": "no"} {
		s.refuses("claiming "+name, protocol.BucketInfo, fmt.Sprintf(`{"version":1,"device":"two","facts":{},"labels":{"group":"b",%q:%q}}`, key, claim), "two")
	}
	s.must(s.devices.Info(t.Context(), "one", map[string]string{"group": "b"}))
	s.labelled("one", map[string]string{"group": "b", key: "yes"})
	s.labelled("two", map[string]string{"group": "a"})
	s.runs("two")
}

// refuses waits until the operator has refused the document that each of ids
// writes. The next one may be written only then: a bucket keeps the last alone.
func (s *stack) refuses(what string, b protocol.Bucket, document string, ids ...protocol.DeviceID) {
	s.Helper()
	want := s.refused() + float64(len(ids))
	for _, id := range ids {
		_, err := s.devices.Publish(s.Context(), b, id, []byte(document))
		s.must(err)
	}
	s.eventually(what+" is refused", func(context.Context) error {
		if got := s.refused(); got != want {
			return fmt.Errorf("%v documents were refused, want %v", got, want)
		}
		return nil
	})
}

// refused is how many documents the operator has refused.
func (s *stack) refused() float64 {
	s.Helper()
	n, err := s.operator.Metric(s.Context(), "fleet_operator_refused_documents_total")
	s.must(err)
	return n
}

// TestPressures shows that a device's shortages are conditions of its Device, as
// they are of a Kubernetes node.
func TestPressures(t *testing.T) {
	s := newStack(t)
	for _, step := range []struct {
		pressures    string
		disk, memory metav1.ConditionStatus
	}{
		{`[]`, metav1.ConditionUnknown, metav1.ConditionUnknown},
		{`[{"type":"DiskPressure","active":true,"message":"7 % free"},{"type":"MemoryPressure","active":false}]`, metav1.ConditionTrue, metav1.ConditionFalse},
		{`[{"type":"DiskPressure","active":false},{"type":"MemoryPressure","active":true}]`, metav1.ConditionFalse, metav1.ConditionTrue},
	} {
		document := `{"version":1,"device":"one","facts":{"diskBytes":7,"addresses":["192.0.2.1"],"clockOffsetMillis":-1500},"pressures":` + step.pressures + `}`
		_, err := s.devices.Publish(t.Context(), protocol.BucketInfo, "one", []byte(document))
		s.must(err)
		s.eventually("conditions", func(ctx context.Context) error {
			d, err := s.device(ctx, "one")
			if err != nil {
				return err
			}
			disk := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.DeviceDiskPressure)
			memory := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.DeviceMemoryPressure)
			if disk == nil || memory == nil || disk.Status != step.disk || memory.Status != step.memory {
				return fmt.Errorf("conditions %+v", d.Status.Conditions)
			}
			if f := d.Status.Facts; f.DiskBytes != 7 || len(f.Addresses) != 1 || f.ClockOffsetMillis != -1500 {
				return fmt.Errorf("facts %+v", f)
			}
			return nil
		})
	}
}

// TestExtremeFacts shows that facts which Kubernetes' numbers cannot hold do no
// harm.
func TestExtremeFacts(t *testing.T) {
	s := newStack(t)
	document := `{"version":1,"device":"one","facts":{"cpus":-9000000000,"memoryBytes":18446744073709551615,"hostname":"\u001b[31mred"}}`
	_, err := s.devices.Publish(t.Context(), protocol.BucketInfo, "one", []byte(document))
	s.must(err)
	s.eventually("facts", func(ctx context.Context) error {
		d, err := s.device(ctx, "one")
		if err != nil {
			return err
		}
		if f := d.Status.Facts; f.CPUs != 0 || f.MemoryBytes != 1<<63-1 {
			return fmt.Errorf("facts %+v", f)
		}
		return nil
	})
}
