package chaos

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

// offlineAfter is how many seconds after the cut somebody removes a container on
// the device itself.
const offlineAfter = 10

// NetworkCut shows that a device heals itself while nobody can reach it, is said
// to be silent meanwhile, and does what was asked for in the meantime once it can
// be reached again, without touching anything else.
func NetworkCut(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	one, _ := in.Apart()
	cutter, can := one.(device.NetworkCutter)
	in.Requires(can && one.Capabilities().NetworkCut, profile.NoNetworkCut)
	admin := in.Admin(ctx)
	d := in.Deploy(ctx, "network", trial.GroupOf(one),
		in.Container("changed", at("one")), in.Container("kept", at("kept")), in.Container("lost", at("lost")))
	in.Settled(ctx, d)
	kept := in.Running(ctx, one, in.Name("kept"))
	lost := in.Running(ctx, one, in.Name("lost"))

	By("cutting the network for a minute; somebody on the device removes a container meanwhile")
	// In a session of its own, so that it outlives the shell that cannot be reached any more.
	_, err := one.Exec(ctx, "sh", "-c", fmt.Sprintf("setsid sh -c 'sleep %d; podman rm --force %s' </dev/null >/dev/null 2>&1 &", offlineAfter, lost.ID))
	Expect(err).NotTo(HaveOccurred())
	Expect(cutter.CutNetwork(ctx)).To(Succeed())
	restored := false
	restore := func(ctx context.Context) {
		if !restored {
			restored = true
			Expect(cutter.RestoreNetwork(in.Stack.Context(ctx))).To(Succeed())
		}
	}
	DeferCleanup(restore)
	in.turn(ctx, d, "two")
	in.Consistently(ctx, IntervalCut, func(g Gomega) {
		in.Refresh(ctx, g, d)
		if d.Status.ObservedGeneration == d.Generation {
			g.Expect(d.Status.Aggregate.Succeeded).To(BeZero(), "nobody can have heard of the change, and yet the status is %+v", d.Status)
		}
	}).Should(Succeed())
	in.Eventually(ctx, IntervalNoticed, func(g Gomega) {
		silent := new(fleet.Device)
		g.Expect(in.Stack.Client.Get(ctx, client.ObjectKey{Name: one.ID()}, silent)).To(Succeed())
		g.Expect(apimeta.IsStatusConditionTrue(silent.Status.Conditions, fleet.ConditionReady)).
			To(BeFalse(), "conditions of %s: %v", one.ID(), silent.Status.Conditions)
	}).Should(Succeed())

	By("looking at what the device did alone")
	restore(ctx)
	healed := in.runsAt(ctx, IntervalBack, one, in.Name("lost"), "lost")
	Expect(healed.ID).NotTo(Equal(lost.ID), "nobody removed it")
	in.runsAt(ctx, IntervalBack, one, in.Name("changed"), "two")
	in.Untouched(ctx, one, kept)
	in.Settled(ctx, d)
	in.ReconcileIdle(ctx, admin, one, 2)
	in.Untouched(ctx, one, healed)
}
