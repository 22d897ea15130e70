package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

// Aggregate shows that what happens on a device comes back as the deployment's
// status.
//
// While the device's agent is stopped, nothing may be counted as succeeded:
// the count comes from the device, and not from hope. Once it is started, the
// status, the device's own report and podman must agree.
func Aggregate(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.Admin(ctx)
	one, _ := in.Apart()
	restart := func(ctx context.Context) { Expect(one.StartAgent(in.Stack.Context(ctx))).To(Succeed()) }

	By("deploying while the agent is stopped")
	DeferCleanup(restart)
	Expect(one.StopAgent(ctx)).To(Succeed())
	d := in.Deploy(ctx, "aggregate", trial.GroupOf(one), in.Container("aggregate"))
	DeferCleanup(restart) // before the deployment is removed, which needs the agent
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		in.Refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Matched).To(BeEquivalentTo(1))
	}).Should(Succeed())
	in.Consistently(ctx, trial.IntervalQuiet, func(g Gomega) {
		in.Refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Matched).To(BeEquivalentTo(1))
		g.Expect(d.Status.Aggregate.Succeeded).To(BeZero(), "no agent runs, and yet the status is %+v", d.Status)
	}).Should(Succeed())

	By("starting the agent")
	Expect(one.StartAgent(ctx)).To(Succeed())
	in.Settled(ctx, d)

	By("comparing the status with the device's report and with podman")
	container := d.Spec.Containers[0].Name
	live := in.Running(ctx, one, container)
	status, _, err := admin.Status(ctx, trial.ID(one))
	Expect(err).NotTo(HaveOccurred())
	reported, err := trial.StatusOf(status, container)
	Expect(err).NotTo(HaveOccurred())
	Expect(reported.Phase).To(Equal(protocol.ContainerRunning))
	Expect(reported.ContainerID).To(Equal(live.ID))
	Expect(reported.Deployment).To(Equal(protocol.DeploymentRef{Namespace: d.Namespace, Name: d.Name, UID: string(d.UID)}))
	_, revision, err := admin.Desired(ctx, trial.ID(one))
	Expect(err).NotTo(HaveOccurred())
	Expect(status.Revision).To(Equal(revision), "the status answers another revision than the desired state has")
}
