package rehearsal

import (
	"context"

	"github.com/nats-io/nats.go"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// reflects has the broker answer the attacker's own requests onto subjects of
// the other device and onto what would administer its documents, and tries
// headers and payloads that reach beyond the attacker's key. What the attacker
// writes is what stands there, so that it stays as it is.
func (in Input) reflects(ctx context.Context, admin, a *wire.Client, attacker, victim protocol.DeviceID) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	read := protocol.BucketDesired.DirectGet(attacker)
	for _, bucket := range []protocol.Bucket{protocol.BucketInfo, protocol.BucketStatus} {
		own, err := admin.Read(ctx, bucket, attacker)
		Expect(err).NotTo(HaveOccurred())
		write := bucket.Subject(attacker)
		for _, target := range reflectionTargets(attacker, victim) {
			Expect(a.Conn().PublishRequest(write, target, own.Data)).To(Succeed())
			Expect(a.Conn().PublishRequest(read, target, nil)).To(Succeed())
		}
		for _, header := range hostileHeaders(victim) {
			answer, err := a.Conn().RequestMsgWithContext(ctx, &nats.Msg{Subject: write, Header: header, Data: own.Data})
			Expect(err).NotTo(HaveOccurred())
			Expect(string(answer.Data)).To(ContainSubstring(`"error"`), "a write with %v was taken", header)
		}
		// The control: the same write without them is taken.
		answer, err := a.Conn().RequestWithContext(ctx, write, own.Data)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(answer.Data)).NotTo(ContainSubstring(`"error"`))
		now, err := admin.Read(ctx, bucket, attacker)
		Expect(err).NotTo(HaveOccurred())
		Expect(now.Revision).To(BeNumerically(">", own.Revision))
		Expect(now.Data).To(Equal(own.Data))
	}
	for _, payload := range otherKeys(victim) {
		answer, err := a.Conn().RequestWithContext(ctx, read, []byte(payload))
		Expect(err).NotTo(HaveOccurred())
		Expect(answer.Data).To(BeEmpty(), "%s was answered", payload)
		Expect(answer.Header.Get("Status")).NotTo(BeEmpty())
	}
	for _, target := range []string{protocol.BucketStatus.Subject(victim), protocol.DoorbellSubject(victim)} {
		traced := &nats.Msg{Subject: protocol.BucketStatus.Subject(attacker), Header: nats.Header{"Nats-Trace-Dest": {target}}}
		Expect(a.Conn().PublishMsg(traced)).To(Succeed())
		Expect(a.Refused(ctx, wire.Publish, target)).To(Succeed())
	}
	for _, reply := range []string{"$JS.ACK." + protocol.BucketStatus.Stream() + ".theirs.1.1.1.1.0", "_R_.x", "_GR_.x"} {
		Expect(a.Conn().PublishRequest(read, reply, nil)).To(Succeed())
		Expect(a.Refused(ctx, wire.PublishReply, reply)).To(Succeed())
	}
	Expect(a.Settle(ctx)).To(Succeed())
	Expect(a.Refusals()).To(BeEmpty())
}
