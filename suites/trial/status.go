package trial

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
)

// Refresh reads the deployment again.
func (t Trial) Refresh(ctx context.Context, g Gomega, d *fleet.Deployment) {
	g.Expect(t.Stack.Client.Get(ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
}

// Settled waits until each deployment has succeeded on all devices that it
// matches, and its status says so of its newest generation.
func (t Trial) Settled(ctx context.Context, deployments ...*fleet.Deployment) {
	GinkgoHelper()
	for _, d := range deployments {
		var matched int
		for _, on := range t.Stack.Devices {
			if Matches(d.Spec.Selector, on) {
				matched++
			}
		}
		t.Eventually(ctx, IntervalDelivered, func(g Gomega) {
			t.Refresh(ctx, g, d)
			g.Expect(d.Status.ObservedGeneration).To(Equal(d.Generation))
			a := d.Status.Aggregate
			g.Expect(a.Matched).To(BeEquivalentTo(matched))
			g.Expect(a.Succeeded).To(BeEquivalentTo(matched), "aggregate %+v", a)
			g.Expect(a.Pending+a.Running+a.Failed).To(BeZero(), "aggregate %+v", a)
			for _, condition := range d.Status.Conditions {
				g.Expect(condition.ObservedGeneration).To(Equal(d.Generation), "condition %+v", condition)
			}
			g.Expect(apimeta.IsStatusConditionTrue(d.Status.Conditions, fleet.ConditionReady)).
				To(BeTrue(), "conditions %+v", d.Status.Conditions)
		}).Should(Succeed(), "status of deployment %s", d.Name)
	}
}

// Matches says whether the selector is for the device.
func Matches(selector metav1.LabelSelector, d device.Device) bool {
	GinkgoHelper()
	compiled, err := metav1.LabelSelectorAsSelector(&selector)
	Expect(err).NotTo(HaveOccurred())
	return compiled.Matches(labels.Set(d.Labels()))
}
