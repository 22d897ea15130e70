package chaos

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// NodeKilled shows that the death of the cluster's only node, and with it of broker,
// issuer, callout and operator at once, loses no device: once the node is back, every
// agent is, with a fresh token, and what runs on devices was not touched.
func NodeKilled(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	in.Requires(in.Stack.Node != nil, profile.NoNode)
	d := in.Deploy(ctx, "node", trial.Everyone(), in.Container("node"))
	in.Settled(ctx, d)
	admin := in.Admin(ctx)
	tokens := map[string]string{}
	live := map[string]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		tokens[on.ID()] = in.Command(ctx, admin, on, protocol.VerbPing).TokenID
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
	var fresh *wire.Client
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		ctx, cancel := context.WithTimeout(ctx, trial.AskAgain)
		defer cancel()
		var err error
		fresh, err = in.Stack.Admin(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	DeferCleanup(fresh.Close)
	for id, reply := range in.Answers(ctx, fresh, time.Now()) {
		Expect(reply.TokenID).NotTo(BeElementOf("", tokens[string(id)]), "%s is back with the token it had", id)
	}
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}
	in.Settled(ctx, d)
}
