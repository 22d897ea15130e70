package chaos

import (
	"context"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

// CalloutRolled shows that another version of the callout takes the place of the
// one that runs without a device losing its connection, and that whoever connects
// afterwards is admitted.
func CalloutRolled(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.Admin(ctx)
	for _, on := range in.Stack.Devices {
		in.Command(ctx, admin, on, protocol.VerbPing)
	}
	before := in.connections(ctx)
	Expect(before).To(HaveLen(len(in.Stack.Devices)), "devices that are connected")

	By("rolling the callout")
	Expect(in.Stack.Callout.Restart(ctx)).To(Succeed())

	By("looking at who is connected, and connecting anew")
	in.stayed(ctx, before)
	for _, on := range in.Stack.Devices {
		in.As(ctx, trial.ID(on))
	}
	for _, on := range in.Stack.Devices {
		in.Command(ctx, admin, on, protocol.VerbPing)
	}
}

// ended is the server's word for a connection whose token reached its end.
const ended = "Authentication Expired"

// stayed asserts that devices have the connections that they had, but for those whose
// token has reached its end meanwhile.
func (in Input) stayed(ctx context.Context, before map[string][]uint64) {
	GinkgoHelper()
	now := in.connections(ctx)
	closed, err := in.Stack.Broker.Closed(ctx, protocol.AccountDevices)
	Expect(err).NotTo(HaveOccurred())
	for id, had := range before {
		for _, cid := range had {
			if !slices.Contains(now[id], cid) {
				Expect(closed).To(ContainElement(SatisfyAll(HaveField("Cid", cid), HaveField("Reason", ended))), "connection %d of %s was lost", cid, id)
			}
		}
	}
}

// connections are the broker's numbers of the connections that devices' agents
// hold, by device.
func (in Input) connections(ctx context.Context) map[string][]uint64 {
	GinkgoHelper()
	all, err := in.Stack.Broker.Connections(ctx, protocol.AccountDevices)
	Expect(err).NotTo(HaveOccurred())
	found := map[string][]uint64{}
	for _, c := range all {
		for _, on := range in.Stack.Devices {
			if c.AuthorizedUser == on.ID() {
				found[on.ID()] = append(found[on.ID()], c.Cid)
			}
		}
	}
	for id := range found {
		slices.Sort(found[id])
	}
	return found
}

// OperatorKilled shows that a rollout whose operator dies in the middle is
// finished by the next one: on every device, once.
func OperatorKilled(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	d := in.Deploy(ctx, "rollout", trial.Everyone(), in.Container("rolled", at("one")), in.Container("kept", at("kept")))
	in.Settled(ctx, d)
	since := map[string]string{}
	for _, on := range in.Stack.Devices {
		since[on.ID()] = in.Now(ctx, on)
	}

	By("killing the operator while the deployment changes")
	in.turn(ctx, d, "two")
	Expect(in.Stack.Operator.Kill(ctx)).To(Succeed())
	Expect(in.Stack.Operator.Start(ctx)).To(Succeed())
	in.Settled(ctx, d)

	By("making sure that every device replaced what has changed, once")
	for _, on := range in.Stack.Devices {
		now := in.runsAt(ctx, trial.IntervalDelivered, on, in.Name("rolled"), "two")
		Expect(in.Created(ctx, on, since[on.ID()])).To(ConsistOf(now.ID), "containers that %s created", on.ID())
	}
}
