package rehearsal

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// Recovery shows that killing the broker loses no device: every agent is back
// within the promised time with a fresh token, shown by a command that each
// answers, and follows its desired state as before.
//
// That a token is fresh is not taken from the agent's word alone: the broker's
// list names the agent's connection, and the callout's record of admissions the
// token that this connection came in by.
func Recovery(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	d := in.Deploy(ctx, "recovery", trial.Everyone(), in.Container("recovery"))
	in.Settled(ctx, d)
	admin := in.Admin(ctx)
	tokens := map[protocol.DeviceID]string{}
	revisions := map[protocol.DeviceID]uint64{}
	live := map[protocol.DeviceID]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		reply := in.Command(ctx, admin, on, protocol.VerbPing)
		Expect(reply.TokenID).NotTo(BeEmpty())
		tokens[trial.ID(on)] = reply.TokenID
		_, revision, err := admin.Desired(ctx, trial.ID(on))
		Expect(err).NotTo(HaveOccurred())
		revisions[trial.ID(on)] = revision
		live[trial.ID(on)] = in.Running(ctx, on, in.Name("recovery"))
	}
	before, err := in.Stack.Broker.ServerID(ctx)
	Expect(err).NotTo(HaveOccurred())

	By("killing the broker")
	killed := time.Now()
	Expect(in.Stack.Broker.Kill(ctx)).To(Succeed())
	Expect(admin.Gone(ctx)).To(Succeed())
	_, err = in.Stack.Broker.ServerID(ctx)
	Expect(err).To(HaveOccurred(), "the broker answers, though it was killed")
	Expect(in.Stack.Broker.Start(ctx)).To(Succeed())
	after, err := in.Stack.Broker.WaitNew(ctx, before)
	Expect(err).NotTo(HaveOccurred())
	Expect(after).NotTo(Equal(before), "the broker's process is the same")
	AddReportEntry("the new broker answers after", time.Since(killed).Round(time.Millisecond).String())

	By("asking every device")
	var fresh *wire.Client
	in.Eventually(ctx, trial.IntervalReconnect, func(g Gomega) {
		// Who connects before the callout is back is left hanging: ask again.
		ctx, cancel := context.WithTimeout(ctx, trial.AskAgain)
		defer cancel()
		var err error
		fresh, err = in.Stack.Admin(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	DeferCleanup(fresh.Close)
	replies := in.Answers(ctx, fresh, killed)

	By("tracing every connection to its token")
	for _, on := range in.Stack.Devices {
		reply := replies[trial.ID(on)]
		Expect(reply.TokenID).NotTo(BeElementOf("", tokens[trial.ID(on)]), "%s is back with the token it had", on.ID())
		in.admittedBy(ctx, on, reply.TokenID, killed)
	}

	By("making sure that nothing was touched or lost")
	for _, on := range in.Stack.Devices {
		in.Untouched(ctx, on, live[trial.ID(on)])
		_, revision, err := fresh.Desired(ctx, trial.ID(on))
		Expect(err).NotTo(HaveOccurred())
		Expect(revision).To(Equal(revisions[trial.ID(on)]), "the desired state of %s", on.ID())
		Expect(replies[trial.ID(on)].Revision).To(Equal(revision), "what %s follows", on.ID())
	}
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, fleet.EnvVar{Name: level, Value: "recovered"})
	})
	for _, on := range in.Stack.Devices {
		in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
			now, err := on.Inspect(ctx, in.Name("recovery"))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(now.ID).NotTo(Equal(live[trial.ID(on)].ID))
			g.Expect(now.Config.Env).To(ContainElement(level + "=recovered"))
		}).Should(Succeed())
	}
	in.Settled(ctx, d)
}

// admittedBy asserts that the device's connection is the one that the callout
// admitted, since then, by this token.
func (in Input) admittedBy(ctx context.Context, on device.Device, tokenID string, since time.Time) {
	GinkgoHelper()
	connections, err := in.Stack.Broker.Connections(ctx, protocol.AccountDevices)
	Expect(err).NotTo(HaveOccurred())
	var open []uint64
	for _, c := range connections {
		if c.AuthorizedUser == on.ID() {
			open = append(open, c.Cid)
		}
	}
	Expect(open).To(HaveLen(1), "connections of %s", on.ID())
	// What a pod has said is read a moment after it said so.
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		admissions, err := in.Stack.Admissions(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		var tokens []string
		for _, a := range admissions {
			if a.Time.After(since) && a.ClientID == open[0] && a.Name == on.ID() && a.Result == wire.Admitted {
				tokens = append(tokens, a.TokenID)
			}
		}
		g.Expect(tokens).To(Equal([]string{tokenID}), "tokens by which connection %d of %s was admitted", open[0], on.ID())
	}).Should(Succeed())
}
