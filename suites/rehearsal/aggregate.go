package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// Aggregate shows that what happens on a device comes back as the deployment's
// status.
//
// While the device's agent is stopped, nothing may be counted as succeeded:
// the count comes from the device, and not from hope. Once it is started, the
// status, the device's own report and podman must agree.
func Aggregate(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.admin(ctx)
	one, _ := in.apart()
	restart := func(ctx context.Context) { Expect(one.StartAgent(in.Stack.Context(ctx))).To(Succeed()) }

	By("deploying while the agent is stopped")
	DeferCleanup(restart)
	Expect(one.StopAgent(ctx)).To(Succeed())
	d := in.deploy(ctx, "aggregate", groupOf(one), in.container("aggregate"))
	DeferCleanup(restart) // before the deployment is removed, which needs the agent
	in.eventually(ctx, IntervalDelivered, func(g Gomega) {
		in.refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Matched).To(BeEquivalentTo(1))
	}).Should(Succeed())
	in.consistently(ctx, IntervalQuiet, func(g Gomega) {
		in.refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Matched).To(BeEquivalentTo(1))
		g.Expect(d.Status.Aggregate.Succeeded).To(BeZero(), "no agent runs, and yet the status is %+v", d.Status)
	}).Should(Succeed())

	By("starting the agent")
	Expect(one.StartAgent(ctx)).To(Succeed())
	in.settled(ctx, d)

	By("comparing the status with the device's report and with podman")
	container := d.Spec.Containers[0].Name
	live := in.running(ctx, one, container)
	status, _, err := admin.Status(ctx, id(one))
	Expect(err).NotTo(HaveOccurred())
	reported, err := statusOf(status, container)
	Expect(err).NotTo(HaveOccurred())
	Expect(reported.Phase).To(Equal(protocol.ContainerRunning))
	Expect(reported.ContainerID).To(Equal(live.ID))
	Expect(reported.Deployment).To(Equal(protocol.DeploymentRef{Namespace: d.Namespace, Name: d.Name, UID: string(d.UID)}))
	_, revision, err := admin.Desired(ctx, id(one))
	Expect(err).NotTo(HaveOccurred())
	Expect(status.Revision).To(Equal(revision), "the status answers another revision than the desired state has")
}

// refresh reads the deployment again.
func (in Input) refresh(ctx context.Context, g Gomega, d *fleet.Deployment) {
	g.Expect(in.Stack.Client.Get(ctx, client.ObjectKeyFromObject(d), d)).To(Succeed())
}

// settled waits until each deployment has succeeded on all devices that it
// matches, and its status says so of its newest generation.
func (in Input) settled(ctx context.Context, deployments ...*fleet.Deployment) {
	GinkgoHelper()
	for _, d := range deployments {
		var matched int
		for _, on := range in.Stack.Devices {
			if matches(d.Spec.Selector, on) {
				matched++
			}
		}
		in.eventually(ctx, IntervalDelivered, func(g Gomega) {
			in.refresh(ctx, g, d)
			g.Expect(d.Status.ObservedGeneration).To(Equal(d.Generation))
			a := d.Status.Aggregate
			g.Expect(a.Matched).To(BeEquivalentTo(matched))
			g.Expect(a.Succeeded).To(BeEquivalentTo(matched), "aggregate %+v", a)
			g.Expect(a.Pending+a.Running+a.Failed).To(BeZero(), "aggregate %+v", a)
			for _, condition := range d.Status.Conditions {
				g.Expect(condition.ObservedGeneration).To(Equal(d.Generation), "condition %+v", condition)
			}
			g.Expect(apimeta.IsStatusConditionTrue(d.Status.Conditions, fleet.ConditionReady)).
				To(BeTrue(), "conditions %+v", d.Status.Conditions)
		}).Should(Succeed(), "status of deployment %s", d.Name)
	}
}
