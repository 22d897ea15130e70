package chaos

import (
	"context"
	"strconv"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/suites/trial"
)

// listens has a container listen at a port, and be looked after by what is there.
func listens(port int32, check fleet.HealthCheck) func(*fleet.Container) {
	return func(c *fleet.Container) {
		c.Args = []string{"listen", strconv.Itoa(int(port))}
		check.IntervalSeconds, check.TimeoutSeconds, check.Retries = 1, 10, 2
		c.HealthCheck = &check
	}
}

// Checked shows that a device finds the ports of its containers, published or not, starts
// one again that does not answer or says that it is ill, and never another.
func Checked(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	const page, hidden, port, nobodys = 8080, 8081, 8082, 8083
	one, _ := in.Apart()
	published := func(c *fleet.Container) { c.Ports = []fleet.Port{{ContainerPort: page, HostPort: page}} }
	d := in.Deploy(ctx, "checked", trial.GroupOf(one),
		in.Container("page", listens(page, fleet.HealthCheck{HTTP: &fleet.HTTPCheck{Port: page}}), published),
		in.Container("port", listens(port, fleet.HealthCheck{TCP: &fleet.TCPCheck{Port: port}})),
		in.Container("hidden", listens(hidden, fleet.HealthCheck{HTTP: &fleet.HTTPCheck{Port: hidden, Path: "/"}})))
	in.Settled(ctx, d)
	var seen []*define.InspectContainerData
	for _, c := range d.Spec.Containers {
		seen = append(seen, in.Running(ctx, one, c.Name))
	}

	By("looking at a page that says it is ill, and at a port at which nobody listens")
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) {
		spec.Containers[0].HealthCheck.HTTP.Path = "/ill"
		spec.Containers[1].HealthCheck.TCP.Port = nobodys
	})
	for _, ill := range seen[:2] {
		in.Eventually(ctx, IntervalBack, func(g Gomega) {
			now, err := one.Inspect(ctx, ill.Name)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(now.State.StartedAt).NotTo(Equal(ill.State.StartedAt), "%s was not started again", ill.Name)
		}).Should(Succeed())
	}
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		in.Refresh(ctx, g, d)
		g.Expect(d.Status.Aggregate.Succeeded).To(BeZero(), "status %+v", d.Status)
	}).Should(Succeed())

	By("looking where they are well again")
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) {
		spec.Containers[0].HealthCheck.HTTP.Path = "/"
		spec.Containers[1].HealthCheck.TCP.Port = port
	})
	in.Settled(ctx, d)
	for _, ill := range seen[:2] {
		in.sameAgain(ctx, one, ill)
	}
	in.Untouched(ctx, one, seen[2])
}
