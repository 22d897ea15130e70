package chaos

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// reasonDenied is the callout's word for why it refuses who is on the deny list.
const reasonDenied = "denied"

// Decommissioned shows what becomes of a device whose resource says that it is to be
// out: its connection is closed, it stays out over another callout and another
// broker, nobody else notices, and when it may come back it does so by itself, with
// the same agent and the same containers.
func Decommissioned(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	d := in.Deploy(ctx, "decommissioned", trial.Everyone(), in.Container("kept"))
	in.Settled(ctx, d)
	live, agents := map[string]*define.InspectContainerData{}, map[string]int{}
	for _, on := range in.Stack.Devices {
		live[on.ID()] = in.Running(ctx, on, in.Name("kept"))
		pid, err := on.AgentPID(ctx)
		Expect(err).NotTo(HaveOccurred())
		agents[on.ID()] = pid
	}
	untouched := func() {
		GinkgoHelper()
		for _, on := range in.Stack.Devices {
			in.Untouched(ctx, on, live[on.ID()])
			Expect(on.AgentPID(ctx)).To(Equal(agents[on.ID()]), "agent of %s", on.ID())
		}
	}
	one, _ := in.Apart()
	in.Eventually(ctx, trial.IntervalReconnect, func(g Gomega) {
		g.Expect(in.connections(ctx)).To(HaveLen(len(in.Stack.Devices)), "devices that are connected")
	}).Should(Succeed())

	By("decommissioning " + one.ID())
	in.decommission(ctx, one, &fleet.Decommission{Reason: "a spec throws it out"})
	DeferCleanup(func(ctx context.Context) { in.decommission(in.Stack.Context(ctx), one, nil) })
	out := time.Now()
	in.Eventually(ctx, IntervalThrownOut, func(g Gomega) {
		g.Expect(in.connections(ctx)).NotTo(HaveKey(one.ID()), "connections of %s", one.ID())
	}).Should(Succeed())
	AddReportEntry(one.ID()+" is out after", time.Since(out).Round(time.Millisecond).String())
	in.keptOut(ctx, one, out)
	in.unnoticed(ctx, one, out)
	in.condition(ctx, one, metav1.ConditionTrue, fleet.ReasonBySpec)
	untouched()

	By("starting another callout")
	anew := time.Now()
	Expect(in.Stack.Callout.Restart(ctx)).To(Succeed())
	in.keptOut(ctx, one, anew)
	in.unnoticed(ctx, one, anew)

	By("killing the broker and starting another")
	before, err := in.Stack.Broker.ServerID(ctx)
	Expect(err).NotTo(HaveOccurred())
	killed := time.Now()
	Expect(in.Stack.Broker.Kill(ctx)).To(Succeed())
	Expect(in.Stack.Broker.Start(ctx)).To(Succeed())
	_, err = in.Stack.Broker.WaitNew(ctx, before)
	Expect(err).NotTo(HaveOccurred())
	admin := in.adminAgain(ctx)
	for _, on := range in.Stack.Devices {
		if on.ID() != one.ID() {
			in.answers(ctx, trial.IntervalReconnect, admin, on)
		}
	}
	in.keptOut(ctx, one, killed)
	in.unnoticed(ctx, one, killed)
	untouched()

	By("letting it back")
	admin = in.Admin(ctx) // the one before may have reached its token's end
	back := time.Now()
	in.decommission(ctx, one, nil)
	in.answers(ctx, IntervalBack, admin, one)
	AddReportEntry(one.ID()+" is back after", time.Since(back).Round(time.Millisecond).String())
	in.condition(ctx, one, metav1.ConditionFalse, fleet.ReasonAdmitted)
	in.Settled(ctx, d)
	untouched()
}

// decommission says on the device's resource why it is to be out; nil lets it back.
func (in Input) decommission(ctx context.Context, on device.Device, why *fleet.Decommission) {
	GinkgoHelper()
	d := new(fleet.Device)
	Expect(in.Stack.Client.Get(ctx, types.NamespacedName{Name: on.ID()}, d)).To(Succeed())
	before := client.MergeFrom(d.DeepCopy())
	d.Spec.Decommissioned = why
	Expect(in.Stack.Client.Patch(ctx, d, before)).To(Succeed())
}

// condition waits until the device's resource says this of the deny list.
func (in Input) condition(ctx context.Context, on device.Device, status metav1.ConditionStatus, reason string) {
	GinkgoHelper()
	in.Eventually(ctx, IntervalNoticed, func(g Gomega) {
		d := new(fleet.Device)
		g.Expect(in.Stack.Client.Get(ctx, types.NamespacedName{Name: on.ID()}, d)).To(Succeed())
		is := apimeta.FindStatusCondition(d.Status.Conditions, fleet.DeviceDecommissioned)
		g.Expect(is).NotTo(BeNil())
		g.Expect([]string{string(is.Status), is.Reason}).To(Equal([]string{string(status), reason}))
	}).Should(Succeed())
}

// keptOut waits until a callout has refused the device since then, because it is on
// the deny list, and asserts that it is not connected then and for a while after.
func (in Input) keptOut(ctx context.Context, on device.Device, since time.Time) {
	GinkgoHelper()
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		decided, err := in.Stack.Admissions(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(decided).To(ContainElement(SatisfyAll(
			HaveField("Name", on.ID()), HaveField("Result", "refused"), HaveField("Reason", reasonDenied), HaveField("Time", BeTemporally(">", since)),
		)), "%s has not come to be refused", on.ID())
	}).Should(Succeed())
	in.Consistently(ctx, trial.IntervalQuiet, func(g Gomega) {
		g.Expect(in.connections(ctx)).NotTo(HaveKey(on.ID()))
	}).Should(Succeed())
	decided, err := in.Stack.Admissions(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(decided).NotTo(ContainElement(SatisfyAll(
		HaveField("Name", on.ID()), HaveField("Result", wire.Admitted), HaveField("Time", BeTemporally(">", since)),
	)), "%s was let in", on.ID())
}

// unnoticed asserts that since then no other device was thrown out or refused for
// the list's sake, and waits until all others are connected: one whose token has ended
// may just be renewing its connection.
func (in Input) unnoticed(ctx context.Context, out device.Device, since time.Time) {
	GinkgoHelper()
	decided, err := in.Stack.Admissions(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(decided).NotTo(ContainElement(SatisfyAll(
		HaveField("Name", Not(Equal(out.ID()))), HaveField("Reason", reasonDenied), HaveField("Time", BeTemporally(">", since)),
	)), "somebody else was taken for %s", out.ID())
	in.Eventually(ctx, trial.IntervalReconnect, func(g Gomega) {
		g.Expect(in.connections(ctx)).To(HaveLen(len(in.Stack.Devices)-1), "devices that are connected")
	}).Should(Succeed())
}

// adminAgain connects as the admin to a stack whose broker or issuer has just started.
func (in Input) adminAgain(ctx context.Context) (admin *wire.Client) {
	GinkgoHelper()
	in.Eventually(ctx, trial.IntervalReconnect, func(g Gomega) {
		ctx, cancel := context.WithTimeout(ctx, trial.AskAgain)
		defer cancel()
		var err error
		admin, err = in.Stack.Admin(ctx)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed())
	DeferCleanup(admin.Close)
	return admin
}

// answers waits until the device answers a ping.
func (in Input) answers(ctx context.Context, wait string, admin *wire.Client, on device.Device) {
	GinkgoHelper()
	in.Eventually(ctx, wait, func(g Gomega) {
		ctx, cancel := context.WithTimeout(ctx, trial.AskAgain)
		defer cancel()
		_, err := admin.Command(ctx, trial.ID(on), protocol.VerbPing)
		g.Expect(err).NotTo(HaveOccurred())
	}).Should(Succeed(), "an answer of %s", on.ID())
}
