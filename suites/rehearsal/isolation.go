package rehearsal

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// Isolation shows that a device's token opens nothing of another device's.
//
// Each attempt is refused by the broker, or, where the broker cannot tell (it
// asks nobody about the subject that an answer goes to), comes to nothing: what
// is stored for the other device, its containers and its agent stay as they
// were. That these would show a change is shown at the end, by one that is
// allowed.
func Isolation(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	one, other := in.Apart()
	attacker, victim := trial.ID(one), trial.ID(other)
	admin := in.Admin(ctx)
	d := in.Deploy(ctx, "isolation", trial.Everyone(), in.Container("isolation"))
	in.Settled(ctx, d)
	before, err := look(ctx, admin, other)
	Expect(err).NotTo(HaveOccurred())
	beats, err := admin.Heartbeats(ctx, protocol.HeartbeatSubject(victim))
	Expect(err).NotTo(HaveOccurred())

	By("connecting with what is no token of its own")
	in.refusesForgeries(ctx, attacker, victim)

	By("subscribing to what is another's")
	a := in.As(ctx, attacker)
	in.readsItsOwn(ctx, a, attacker)
	for _, subject := range forbiddenSubscriptions(attacker, victim) {
		in.refusesSubscribe(ctx, a, subject)
	}

	By("publishing, reading, writing and administering what is another's")
	for _, subject := range forbiddenPublications(attacker, victim) {
		in.refusesPublish(ctx, a, subject, protocol.InboxPrefix(attacker)+".answer")
	}
	Expect(a.Refusals()).To(BeEmpty())

	By("having the broker's answers put where they would hurt")
	in.reflects(ctx, admin, a, attacker, victim)
	in.readsItsOwn(ctx, a, attacker)

	By("looking at the other device")
	Expect(look(ctx, admin, other)).To(Equal(before))
	in.onlyItsOwnHeartbeats(ctx, beats)
	reply := in.Command(ctx, admin, other, protocol.VerbReconcile)
	Expect(reply.Changed).To(BeEmpty())
	Expect(look(ctx, admin, other)).To(Equal(before))

	By("making sure that a change would have been seen")
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) {
		spec.Containers[0].Env = append(spec.Containers[0].Env, fleet.EnvVar{Name: level, Value: "allowed"})
	})
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		now, err := look(ctx, admin, other)
		g.Expect(err).NotTo(HaveOccurred())
		for _, bucket := range []protocol.Bucket{protocol.BucketDesired, protocol.BucketStatus} {
			g.Expect(now.Documents[bucket]).NotTo(Equal(before.Documents[bucket]))
		}
		g.Expect(now.Containers).NotTo(Equal(before.Containers))
	}).Should(Succeed())
	in.Settled(ctx, d)
}

// outside is all of a device that can be seen from outside.
type outside struct {
	// Documents are its stored documents with their revisions.
	Documents map[protocol.Bucket]string
	// Containers are its containers by id, each with when it was started.
	Containers map[string]string
	// Agent is its agent's process.
	Agent int
}

func look(ctx context.Context, admin *wire.Client, on device.Device) (outside, error) {
	seen := outside{Documents: map[protocol.Bucket]string{}, Containers: map[string]string{}}
	for _, bucket := range protocol.DeviceBuckets() {
		document, err := admin.Read(ctx, bucket, trial.ID(on))
		if bucket == protocol.BucketDenied && errors.Is(err, wire.ErrNoDocument) {
			continue // nobody has put it on the list
		}
		if err != nil {
			return seen, err
		}
		seen.Documents[bucket] = fmt.Sprintf("%d %s", document.Revision, document.Data)
	}
	found, err := on.Containers(ctx)
	if err != nil {
		return seen, err
	}
	for _, c := range found {
		live, err := on.Inspect(ctx, c.ID)
		if err != nil {
			return seen, err
		}
		seen.Containers[c.ID] = fmt.Sprintf("%s %s since %s", live.Name, live.State.Status, live.State.StartedAt)
	}
	seen.Agent, err = on.AgentPID(ctx)
	return seen, err
}

// readsItsOwn is the control: the same connection reads what it may.
func (in Input) readsItsOwn(ctx context.Context, a *wire.Client, attacker protocol.DeviceID) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalCommand)
	defer cancel()
	desired, _, err := a.Desired(ctx, attacker)
	Expect(err).NotTo(HaveOccurred())
	Expect(desired.Device).To(Equal(attacker))
}

// onlyItsOwnHeartbeats asserts that every heartbeat that came meanwhile was sent
// by one agent: they count up.
func (in Input) onlyItsOwnHeartbeats(ctx context.Context, beats *wire.Heartbeats) {
	GinkgoHelper()
	ctx, cancel := in.Within(ctx, trial.IntervalHeartbeat)
	defer cancel()
	heard, strays, err := beats.Drain(ctx)
	Expect(err).NotTo(HaveOccurred())
	// Answers of the broker that were put there are no heartbeats, and nobody
	// takes them for one.
	GinkgoWriter.Printf("%d messages on the heartbeat's subject were none\n", strays)
	for len(heard) < beatsWanted {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred())
		heard = append(heard, beat)
	}
	for i := range heard[1:] {
		Expect(heard[i+1].Sequence).To(BeNumerically(">", heard[i].Sequence))
	}
}

// refusesForgeries tries to be admitted as the other device.
func (in Input) refusesForgeries(ctx context.Context, attacker, victim protocol.DeviceID) {
	GinkgoHelper()
	token, err := in.Stack.Token(ctx, attacker)
	Expect(err).NotTo(HaveOccurred())
	part := strings.Split(token, ".")
	Expect(part).To(HaveLen(3))
	claims, err := base64.RawURLEncoding.DecodeString(part[1])
	Expect(err).NotTo(HaveOccurred())
	Expect(string(claims)).To(ContainSubstring(string(attacker)))
	renamed := base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(string(claims), string(attacker), string(victim))))
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for what, forged := range map[string]string{
		"no token":                "",
		"the other's name":        string(victim),
		"a token renamed":         part[0] + "." + renamed + "." + part[2],
		"a token without signing": unsigned + "." + renamed + ".",
	} {
		client, err := in.Stack.Dial(ctx, wire.Device(victim, forged))
		if err == nil {
			client.Close()
		}
		Expect(err).To(MatchError(wire.ErrRefused), what)
	}
}
