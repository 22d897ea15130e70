package chaos

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

// IssuerOutage shows that agents come back by themselves when the broker restarts
// while nobody can give them a token: not before the issuer is back, and soon
// after. What runs on devices does not depend on any of it.
func IssuerOutage(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	d := in.Deploy(ctx, "issuer", trial.Everyone(), in.Container("issuer"))
	in.Settled(ctx, d)
	live := map[string]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		live[on.ID()] = in.Running(ctx, on, in.Name("issuer"))
	}
	before, err := in.Stack.Broker.ServerID(ctx)
	Expect(err).NotTo(HaveOccurred())

	By("taking the issuer away and killing the broker")
	Expect(in.Stack.Issuer.Stop(ctx)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { Expect(in.Stack.Issuer.Start(in.Stack.Context(ctx))).To(Succeed()) })
	Expect(in.Stack.Broker.Kill(ctx)).To(Succeed())
	Expect(in.Stack.Broker.Start(ctx)).To(Succeed())
	_, err = in.Stack.Broker.WaitNew(ctx, before)
	Expect(err).NotTo(HaveOccurred())
	in.Consistently(ctx, trial.IntervalQuiet, func(g Gomega) {
		connected, err := in.Stack.Broker.Connections(ctx, protocol.AccountDevices)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(connected).To(BeEmpty(), "somebody is connected with a token that nobody can have issued")
	}).Should(Succeed())
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}

	By("giving the issuer back")
	Expect(in.Stack.Issuer.Start(ctx)).To(Succeed())
	back := time.Now()
	in.Answers(ctx, in.adminAgain(ctx), back)
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}
	in.Settled(ctx, d)
}
