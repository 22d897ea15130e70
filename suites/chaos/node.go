package chaos

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// NodeKilled shows that the death of the cluster's only node, and with it of broker,
// issuer, callout and operator at once, loses no device: once the node is back, every
// agent is, and what runs on devices was not touched. Whether an agent's token is a
// fresh one depends on whether issuer or broker was back first.
func NodeKilled(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	in.Requires(in.Stack.Node != nil, profile.NoNode)
	d := in.Deploy(ctx, "node", trial.Everyone(), in.Container("node"))
	in.Settled(ctx, d)
	live := map[string]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		live[on.ID()] = in.Running(ctx, on, in.Name("node"))
	}
	before, err := in.Stack.Broker.ServerID(ctx)
	Expect(err).NotTo(HaveOccurred())

	By("killing the node")
	DeferCleanup(func(ctx context.Context) { Expect(in.Stack.Node.Start(in.Stack.Context(ctx))).To(Succeed()) })
	Expect(in.Stack.Node.Kill(ctx)).To(Succeed())
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}
	Expect(in.Stack.Node.Start(ctx)).To(Succeed())
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		after, err := in.Stack.Broker.ServerID(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(after).NotTo(Equal(before))
	}).Should(Succeed())

	By("asking every device")
	var again *wire.Client
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		ctx, cancel := context.WithTimeout(ctx, trial.AskAgain)
		defer cancel()
		var err error
		again, err = in.Stack.Admin(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	DeferCleanup(again.Close)
	in.Answers(ctx, again, time.Now())
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}
	in.Settled(ctx, d)
}
