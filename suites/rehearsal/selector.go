package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
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
	admin := in.Admin(ctx)
	one, other := in.Apart()

	By("deploying to the one group, then to the other")
	first := in.Deploy(ctx, "selected", trial.GroupOf(one), in.Container("selected"))
	second := in.Deploy(ctx, "witness", trial.GroupOf(other), in.Container("witness"))

	for _, d := range in.Stack.Devices {
		for _, deployment := range []*fleet.Deployment{first, second} {
			if trial.Matches(deployment.Spec.Selector, d) {
				in.Running(ctx, d, deployment.Spec.Containers[0].Name)
			}
		}
	}
	in.Settled(ctx, first, second)

	By("asking every device to reconcile, and looking at what it holds")
	for _, d := range in.Stack.Devices {
		in.Command(ctx, admin, d, protocol.VerbReconcile)
		desired, _, err := admin.Desired(ctx, trial.ID(d))
		Expect(err).NotTo(HaveOccurred())
		found, err := trial.ContainerNames(ctx, d)
		Expect(err).NotTo(HaveOccurred())
		for _, deployment := range []*fleet.Deployment{first, second} {
			want := HaveLen(0)
			if trial.Matches(deployment.Spec.Selector, d) {
				want = HaveLen(1)
			}
			container := deployment.Spec.Containers[0].Name
			Expect(only(found, container)).To(want, "%s on %s, which is %v", container, d.ID(), d.Labels())
			Expect(only(containersOf(desired), container)).To(want, "%s in the desired state of %s, which is %v", container, d.ID(), d.Labels())
		}
	}
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
