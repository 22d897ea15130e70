package chaos

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
)

// PowerCut shows that a device whose power fails while a deployment changes ends
// at what was asked for last: the change is neither lost nor done twice, what did
// not change is the same container, and the other devices notice nothing.
func PowerCut(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	one, other := in.Apart()
	in.Requires(one.Capabilities().PowerCut, profile.NoPowerCut)
	admin := in.Admin(ctx)
	d := in.Deploy(ctx, "power", trial.Everyone(), in.Container("changed", at("one")), in.Container("kept", at("kept")))
	in.Settled(ctx, d)
	kept := in.Running(ctx, one, in.Name("kept"))
	elsewhere := in.Running(ctx, other, in.Name("kept"))
	DeferCleanup(func(ctx context.Context) { Expect(powered(in.Stack.Context(ctx), one)).To(Succeed()) })

	By("cutting the power while the deployment changes")
	in.turn(ctx, d, "two")
	Expect(one.PowerCut(ctx)).To(Succeed())
	in.runsAt(ctx, trial.IntervalDelivered, other, in.Name("changed"), "two")
	in.Consistently(ctx, trial.IntervalQuiet, func(g Gomega) {
		in.Refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Matched).To(BeEquivalentTo(len(in.Stack.Devices)), "the device that is off is not forgotten")
	}).Should(Succeed())

	By("asking for something else while the device is off, and giving the power back")
	in.turn(ctx, d, "three")
	Expect(one.PowerOn(ctx)).To(Succeed())
	in.runsAt(ctx, IntervalBack, one, in.Name("changed"), "three")
	in.sameAgain(ctx, one, kept)
	in.Settled(ctx, d)
	in.Untouched(ctx, other, elsewhere)

	By("making sure that it stays")
	in.ReconcileIdle(ctx, admin, one, 2)
}

// powered gives the device its power back if a failed spec left it without.
func powered(ctx context.Context, on device.Device) error {
	if _, err := on.AgentPID(ctx); err == nil {
		return nil
	}
	return on.PowerOn(ctx)
}

// Reboot shows that what ran before a reboot runs after it, in the very same
// containers, before anybody could have told the device what to run.
func Reboot(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	one, _ := in.Apart()
	rebooter, can := one.(device.Rebooter)
	in.Requires(can && one.Capabilities().Reboot, profile.NoReboot)
	admin := in.Admin(ctx)
	d := in.Deploy(ctx, "reboot", trial.GroupOf(one), in.Container("first", at("one")), in.Container("second", at("one")))
	in.Settled(ctx, d)
	first, second := in.Running(ctx, one, in.Name("first")), in.Running(ctx, one, in.Name("second"))
	before := in.Command(ctx, admin, one, protocol.VerbPing)

	By("rebooting the device")
	Expect(rebooter.Reboot(ctx)).To(Succeed())
	in.sameAgain(ctx, one, first)
	in.sameAgain(ctx, one, second)
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		reply, err := admin.Command(ctx, trial.ID(one), protocol.VerbPing)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(reply.TokenID).NotTo(Equal(before.TokenID), "the agent is the one from before the reboot")
	}).Should(Succeed())
	in.Settled(ctx, d)
	in.ReconcileIdle(ctx, admin, one, 2)
}
