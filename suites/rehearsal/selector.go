package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// Selector shows that a deployment reaches the devices that its selector
// matches, and no others.
//
// A device that does nothing at all would also not run what is not meant for
// it. So a second deployment, made after the first, is for the others: once a
// device runs that one, it has seen a desired state from after the first, and has
// been asked to reconcile it, and what it does not run then is not coming.
func Selector(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.admin(ctx)
	one, other := in.apart()

	By("deploying to the one group, then to the other")
	first := in.deploy(ctx, "selected", groupOf(one), in.container("selected"))
	second := in.deploy(ctx, "witness", groupOf(other), in.container("witness"))

	for _, d := range in.Stack.Devices {
		for _, deployment := range []*fleet.Deployment{first, second} {
			if matches(deployment.Spec.Selector, d) {
				in.running(ctx, d, deployment.Spec.Containers[0].Name)
			}
		}
	}
	in.settled(ctx, first, second)

	By("asking every device to reconcile, and looking at what it holds")
	for _, d := range in.Stack.Devices {
		in.command(ctx, admin, d, protocol.VerbReconcile)
		desired, _, err := admin.Desired(ctx, id(d))
		Expect(err).NotTo(HaveOccurred())
		found, err := names(ctx, d)
		Expect(err).NotTo(HaveOccurred())
		for _, deployment := range []*fleet.Deployment{first, second} {
			want := HaveLen(0)
			if matches(deployment.Spec.Selector, d) {
				want = HaveLen(1)
			}
			container := deployment.Spec.Containers[0].Name
			Expect(only(found, container)).To(want, "%s on %s, which is %v", container, d.ID(), d.Labels())
			Expect(only(containersOf(desired), container)).To(want, "%s in the desired state of %s, which is %v", container, d.ID(), d.Labels())
		}
	}
}

// matches says whether the selector is for the device.
func matches(selector metav1.LabelSelector, d device.Device) bool {
	GinkgoHelper()
	compiled, err := metav1.LabelSelectorAsSelector(&selector)
	Expect(err).NotTo(HaveOccurred())
	return compiled.Matches(labels.Set(d.Labels()))
}

// only returns those of all that equal one.
func only(all []string, one string) []string {
	var found []string
	for _, s := range all {
		if s == one {
			found = append(found, s)
		}
	}
	return found
}

// containersOf are the names of the containers in a desired state.
func containersOf(desired *protocol.DesiredState) []string {
	var all []string
	for _, c := range desired.Containers {
		all = append(all, c.Name)
	}
	return all
}
