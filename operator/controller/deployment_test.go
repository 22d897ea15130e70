package controller

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/operator/fleet"
	"github.com/seatrial/seatrial/protocol"
)

// TestNoDeviceIsForgotten counts after the longest wait for devices to be rendered: the
// one that was not by then is not known to have succeeded.
func TestNoDeviceIsForgotten(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"group": "a"}
	d := &v1alpha1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid", Generation: 1, Finalizers: []string{v1alpha1.Finalizer}},
		Spec: v1alpha1.DeploymentSpec{
			Selector:   metav1.LabelSelector{MatchLabels: labels},
			Containers: []v1alpha1.Container{{Name: "app", Image: "app:1"}},
		},
	}
	device := func(name string, labels map[string]string) *v1alpha1.Device {
		return &v1alpha1.Device{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(d).
		WithObjects(d, device("rendered", labels), device("late", labels), device("of-others", nil), device("thrown-out", labels)).Build()
	table := fleet.NewTable(time.Minute)
	table.SetDesired("rendered", fleet.Desired{Revision: 5, Document: []byte("{}")})
	table.SetRendered("rendered", fleet.Rendered{Resource: true, Labels: labels, Shares: fleet.Shares{"uid": {Generation: 1, Since: 5}}})
	table.SetStatus("rendered", &protocol.DeviceStatus{Device: "rendered", Revision: 5, Containers: []protocol.ContainerStatus{
		{Name: "app", Deployment: protocol.DeploymentRef{UID: "uid"}, Phase: protocol.ContainerRunning},
	}})
	table.Heartbeat("rendered", time.Now())
	table.SetDenial("thrown-out", fleet.Denial{Revision: 1, Listed: true})

	r := &deployments{client: cluster, table: table, events: NewEvents(table)}
	reconciled := func() *v1alpha1.Deployment {
		t.Helper()
		request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d)}
		if _, err := r.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		now := new(v1alpha1.Deployment)
		if err := cluster.Get(t.Context(), request.NamespacedName, now); err != nil {
			t.Fatal(err)
		}
		return now
	}
	if now := reconciled(); now.Status.ObservedGeneration != 0 {
		t.Errorf("it is counted at once: %+v", now.Status)
	}
	r.began = time.Now().Add(-2 * rendering)
	now := reconciled()
	if want := (v1alpha1.Aggregate{Matched: 2, Succeeded: 1, Pending: 1}); now.Status.Aggregate != want || meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.DeploymentReady) {
		t.Errorf("the status is %+v", now.Status)
	}
	for _, id := range []protocol.DeviceID{"late", "of-others", "thrown-out"} {
		table.SetRendered(id, fleet.Rendered{Resource: true, Shares: fleet.Shares{}})
	}
	now = reconciled()
	if want := (v1alpha1.Aggregate{Matched: 1, Succeeded: 1}); now.Status.Aggregate != want || !meta.IsStatusConditionTrue(now.Status.Conditions, v1alpha1.DeploymentReady) {
		t.Errorf("when all are rendered, the status is %+v", now.Status)
	}
}

// TestWhatWasSaidOfAnotherSpec does not stand for this one: a new operator that has not
// heard a device yet has no word of who heard it but that about the same spec.
func TestWhatWasSaidOfAnotherSpec(t *testing.T) {
	for generation, want := range map[int64]bool{1: false, 2: true} {
		d := &v1alpha1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
		d.Status.Aggregate = v1alpha1.Aggregate{Matched: 1, Succeeded: 1}
		d.Status.Conditions = []metav1.Condition{{Type: v1alpha1.DeploymentReady, Status: metav1.ConditionTrue, ObservedGeneration: generation}}
		conditions(d, hearing{unheard: 1}, nil)
		if got := meta.IsStatusConditionTrue(d.Status.Conditions, v1alpha1.DeploymentReady); got != want {
			t.Errorf("after True of generation %d it is %t", generation, got)
		}
	}
}
