package rehearsal

import (
	"context"
	"sync"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
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
	d := in.deploy(ctx, "recovery", everyone(), in.container("recovery"))
	in.settled(ctx, d)
	admin := in.admin(ctx)
	tokens := map[protocol.DeviceID]string{}
	revisions := map[protocol.DeviceID]uint64{}
	live := map[protocol.DeviceID]*define.InspectContainerData{}
	for _, on := range in.Stack.Devices {
		reply := in.command(ctx, admin, on, protocol.VerbPing)
		Expect(reply.TokenID).NotTo(BeEmpty())
		tokens[id(on)] = reply.TokenID
		_, revision, err := admin.Desired(ctx, id(on))
		Expect(err).NotTo(HaveOccurred())
		revisions[id(on)] = revision
		live[id(on)] = in.running(ctx, on, in.name("recovery"))
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
	in.eventually(ctx, IntervalReconnect, func(g Gomega) {
		// Who connects before the callout is back is left hanging: ask again.
		ctx, cancel := context.WithTimeout(ctx, askAgain)
		defer cancel()
		var err error
		fresh, err = in.Stack.Admin(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	DeferCleanup(fresh.Close)
	replies := in.answers(ctx, fresh, killed)

	By("tracing every connection to its token")
	for _, on := range in.Stack.Devices {
		reply := replies[id(on)]
		Expect(reply.TokenID).NotTo(BeElementOf("", tokens[id(on)]), "%s is back with the token it had", on.ID())
		in.admittedBy(ctx, on, reply.TokenID, killed)
	}

	By("making sure that nothing was touched or lost")
	for _, on := range in.Stack.Devices {
		in.untouched(ctx, on, live[id(on)])
		_, revision, err := fresh.Desired(ctx, id(on))
		Expect(err).NotTo(HaveOccurred())
		Expect(revision).To(Equal(revisions[id(on)]), "the desired state of %s", on.ID())
		Expect(replies[id(on)].Revision).To(Equal(revision), "what %s follows", on.ID())
	}
	in.change(ctx, d, func(spec *fleet.DeploymentSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, fleet.EnvVar{Name: level, Value: "recovered"})
	})
	for _, on := range in.Stack.Devices {
		in.eventually(ctx, IntervalDelivered, func(g Gomega) {
			now, err := on.Inspect(ctx, in.name("recovery"))
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(now.ID).NotTo(Equal(live[id(on)].ID))
			g.Expect(now.Config.Env).To(ContainElement(level + "=recovered"))
		}).Should(Succeed())
	}
	in.settled(ctx, d)
}

// answers asks every device, side by side, until it answers, and reports how
// long after the kill that was. Each must have answered within the promise.
func (in Input) answers(ctx context.Context, admin *wire.Client, killed time.Time) map[protocol.DeviceID]*protocol.CommandReply {
	GinkgoHelper()
	promise := in.Stack.Intervals.Interval(IntervalReconnect)
	ctx, cancel := context.WithDeadline(ctx, killed.Add(promise.Timeout))
	defer cancel()
	var (
		mu      sync.Mutex
		replies = map[protocol.DeviceID]*protocol.CommandReply{}
		group   sync.WaitGroup
	)
	for _, on := range in.Stack.Devices {
		group.Go(func() {
			reply, err := untilAnswered(ctx, admin, on, promise.Poll)
			took := time.Since(killed)
			defer GinkgoRecover()
			Expect(err).NotTo(HaveOccurred(), "%s did not answer within %s", on.ID(), promise.Timeout)
			AddReportEntry(on.ID()+" answers after", took.Round(time.Millisecond).String())
			mu.Lock()
			defer mu.Unlock()
			replies[id(on)] = reply
		})
	}
	group.Wait()
	Expect(replies).To(HaveLen(len(in.Stack.Devices)))
	return replies
}

// untilAnswered pings the device until it answers or ctx ends.
func untilAnswered(ctx context.Context, admin *wire.Client, on device.Device, every time.Duration) (*protocol.CommandReply, error) {
	again := time.NewTicker(every)
	defer again.Stop()
	for {
		reply, err := ping(ctx, admin, on)
		if err == nil || ctx.Err() != nil {
			return reply, err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// askAgain is how long one attempt to connect or one ping may take before it is
// made again, so that what is measured is the agents and not our own waiting.
const askAgain = 500 * time.Millisecond

func ping(ctx context.Context, admin *wire.Client, on device.Device) (*protocol.CommandReply, error) {
	ctx, cancel := context.WithTimeout(ctx, askAgain)
	defer cancel()
	return admin.Command(ctx, id(on), protocol.VerbPing)
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
	admissions, err := in.Stack.Admissions(ctx)
	Expect(err).NotTo(HaveOccurred())
	var tokens []string
	for _, a := range admissions {
		if a.Time.After(since) && a.ClientID == open[0] && a.Name == on.ID() && a.Result == wire.Admitted {
			tokens = append(tokens, a.TokenID)
		}
	}
	Expect(tokens).To(Equal([]string{tokenID}), "tokens by which connection %d of %s was admitted", open[0], on.ID())
}
