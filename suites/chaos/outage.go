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

// IssuerOutage shows that a broker which restarts while the issuer is away has its
// fleet back all the same, by the tokens that the devices had, which are none the less
// valid; that what runs on devices does not depend on any of it; and that every device
// has a fresh token at the next outage, when the issuer is back.
func IssuerOutage(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	d := in.Deploy(ctx, "issuer", trial.Everyone(), in.Container("issuer"))
	in.Settled(ctx, d)
	admin := in.Admin(ctx)
	tokens := map[string]string{}
	live := map[string]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		tokens[on.ID()] = in.Command(ctx, admin, on, protocol.VerbPing).TokenID
		live[on.ID()] = in.Running(ctx, on, in.Name("issuer"))
	}

	By("taking the issuer away and killing the broker")
	Expect(in.Stack.Issuer.Stop(ctx)).To(Succeed())
	DeferCleanup(func(ctx context.Context) { Expect(in.Stack.Issuer.Start(in.Stack.Context(ctx))).To(Succeed()) })
	killed := in.killBroker(ctx)
	in.Eventually(ctx, trial.IntervalReconnect, func(g Gomega) {
		g.Expect(in.connections(ctx)).To(HaveLen(len(in.Stack.Devices)), "devices that are back")
	}).Should(Succeed())
	AddReportEntry("all are back without an issuer after", time.Since(killed).Round(time.Millisecond).String())
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}

	By("giving the issuer back")
	Expect(in.Stack.Issuer.Start(ctx)).To(Succeed())
	for id, reply := range in.Answers(ctx, in.adminAgain(ctx), time.Now()) {
		Expect(reply.TokenID).To(Equal(tokens[string(id)]), "the token of %s that nobody can have renewed", id)
	}

	By("killing the broker again")
	killed = in.killBroker(ctx)
	for id, reply := range in.Answers(ctx, in.adminAgain(ctx), killed) {
		Expect(reply.TokenID).NotTo(BeElementOf("", tokens[string(id)]), "%s is back with the token it had", id)
	}
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[on.ID()])
	}
	in.Settled(ctx, d)
}

// killBroker kills the broker, returns when another answers, and says when it was killed.
func (in Input) killBroker(ctx context.Context) time.Time {
	GinkgoHelper()
	before, err := in.Stack.Broker.ServerID(ctx)
	Expect(err).NotTo(HaveOccurred())
	killed := time.Now()
	Expect(in.Stack.Broker.Kill(ctx)).To(Succeed())
	Expect(in.Stack.Broker.Start(ctx)).To(Succeed())
	_, err = in.Stack.Broker.WaitNew(ctx, before)
	Expect(err).NotTo(HaveOccurred())
	return killed
}
