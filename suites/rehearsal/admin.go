package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// AdminReads shows that an admin's token reads the heartbeats and documents of
// every device, and that it is the token that makes the difference: a device's
// own is refused the same subjects.
func AdminReads(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.Admin(ctx)
	// A device that never ran anything has no status to read.
	in.Settled(ctx, in.Deploy(ctx, "read", trial.Everyone(), in.Container("read")))
	for _, d := range in.Stack.Devices {
		By("reading everything of " + d.ID() + " as admin")
		subject := protocol.HeartbeatSubject(trial.ID(d))
		in.hears(ctx, admin, subject)
		info, _, err := admin.Info(ctx, trial.ID(d))
		Expect(err).NotTo(HaveOccurred())
		Expect(info.Device).To(Equal(trial.ID(d)))
		Expect(info.Labels).To(Equal(d.Labels()))
		status, _, err := admin.Status(ctx, trial.ID(d))
		Expect(err).NotTo(HaveOccurred())
		Expect(status.Device).To(Equal(trial.ID(d)))
		Expect(admin.Refusals()).To(BeEmpty())

		for _, other := range in.Stack.Devices {
			if other.ID() == d.ID() {
				continue
			}
			By("reading the same with the token of " + other.ID())
			asDevice := in.As(ctx, trial.ID(other))
			answers := protocol.InboxPrefix(trial.ID(other)) + ".answer"
			in.refusesSubscribe(ctx, asDevice, subject)
			in.refusesPublish(ctx, asDevice, protocol.BucketInfo.DirectGet(trial.ID(d)), answers)
			in.refusesPublish(ctx, asDevice, protocol.BucketStatus.DirectGet(trial.ID(d)), answers)
			asDevice.Close()
		}
	}
}

// hears asserts that a heartbeat arrives on the subject.
func (in Input) hears(ctx context.Context, client *wire.Client, subject string) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalHeartbeat)
	defer cancel()
	beats, err := client.Heartbeats(ctx, subject)
	Expect(err).NotTo(HaveOccurred())
	defer beats.Close() //nolint:errcheck // the connection ends with the spec
	_, err = beats.Next(ctx)
	Expect(err).NotTo(HaveOccurred())
}

// refusesSubscribe asserts that the broker refuses a subscription to subject,
// alone and in a queue group.
func (in Input) refusesSubscribe(ctx context.Context, client *wire.Client, subject string) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalRefused)
	defer cancel()
	_, err := client.Conn().SubscribeSync(subject)
	Expect(err).NotTo(HaveOccurred())
	Expect(client.Refused(ctx, wire.Subscribe, subject)).To(Succeed())
	_, err = client.Conn().QueueSubscribeSync(subject, "queue")
	Expect(err).NotTo(HaveOccurred())
	Expect(client.Refused(ctx, wire.Subscribe, subject)).To(Succeed())
}

// refusesPublish asserts that the broker refuses a message on subject, whose
// answer is to go to reply.
func (in Input) refusesPublish(ctx context.Context, client *wire.Client, subject, reply string) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalRefused)
	defer cancel()
	Expect(client.Conn().PublishRequest(subject, reply, []byte("{}"))).To(Succeed())
	Expect(client.Refused(ctx, wire.Publish, subject)).To(Succeed())
}
