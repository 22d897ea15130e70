package rehearsal

import (
	"context"
	"path"
	"strings"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

const (
	// level is the variable that spec 4 sets and changes.
	level = "REHEARSAL_LEVEL"
	// sampleFile tells the sample where to write its environment.
	sampleFile = "SAMPLE_FILE"
	// data is where the volume is mounted.
	data = "/data"
)

// Drift shows that what was asked for is what runs, that nothing is touched for
// as long as nothing else is asked for, and that a change replaces what it is
// about, once, and nothing else.
func Drift(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	admin := in.Admin(ctx)
	one, _ := in.Apart()
	d := in.Deploy(ctx, "drift", trial.GroupOf(one),
		in.Container("changed", func(c *fleet.Container) {
			c.Env = []fleet.EnvVar{{Name: level, Value: "one"}, {Name: sampleFile, Value: path.Join(data, "environment")}}
			c.Volumes = []fleet.Volume{{Name: in.Name("data"), MountPath: data}}
		}),
		in.Container("kept", func(c *fleet.Container) {
			c.Env = []fleet.EnvVar{{Name: level, Value: "kept"}}
		}),
	)
	in.Settled(ctx, d)
	changed := in.Running(ctx, one, in.Name("changed"))
	kept := in.Running(ctx, one, in.Name("kept"))

	By("reading environment and volume from outside and from inside")
	in.hasEnvironment(ctx, one, changed, level+"=one")

	By("asking for two reconciles, and starting the agent again")
	in.ReconcileIdle(ctx, admin, one, 2)
	in.RestartAgent(ctx, admin, one)
	in.ReconcileIdle(ctx, admin, one, 2)
	in.Untouched(ctx, one, changed)
	in.Untouched(ctx, one, kept)

	By("changing one variable")
	asked := in.Now(ctx, one)
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) { spec.Containers[0].Env[0].Value = "two" })
	var status *protocol.DeviceStatus
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		var err error
		status, _, err = admin.Status(ctx, trial.ID(one))
		g.Expect(err).NotTo(HaveOccurred())
		reported, err := trial.StatusOf(status, in.Name("changed"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(reported.Phase).To(Equal(protocol.ContainerRunning))
		g.Expect(reported.ContainerID).NotTo(Equal(changed.ID))
		g.Expect(reported.Replaced).NotTo(BeNil(), "the status does not say why it was replaced")
	}).Should(Succeed())
	in.Settled(ctx, d)

	By("looking at what was replaced, and why")
	reported, err := trial.StatusOf(status, in.Name("changed"))
	Expect(err).NotTo(HaveOccurred())
	Expect(reported.Replaced.Drift).To(ConsistOf(
		protocol.Difference{Field: "env." + level, Desired: "(another value)", Live: "(a value)"},
	))
	replaced := in.Running(ctx, one, in.Name("changed"))
	Expect(replaced.ID).To(Equal(reported.ContainerID))
	in.hasEnvironment(ctx, one, replaced, level+"=two")
	in.Untouched(ctx, one, kept)

	By("waiting for the old one to go, which is kept until the new one has shown that it works")
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		names, err := trial.ContainerNames(ctx, one)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(names).NotTo(ContainElement(in.Name("changed") + ".last"))
	}).Should(Succeed())

	By("making sure that it was replaced once, and stays")
	in.ReconcileIdle(ctx, admin, one, 2)
	in.Untouched(ctx, one, replaced)
	in.Untouched(ctx, one, kept)
	Expect(in.Created(ctx, one, asked)).To(ConsistOf(replaced.ID), "containers that %s created", one.ID())
}

// hasEnvironment asserts that podman shows the entry and the volume, and that
// the container's own process was given the one and has written to the other.
func (in Input) hasEnvironment(ctx context.Context, on device.Device, live *define.InspectContainerData, entry string) {
	GinkgoHelper()
	Expect(live.Config.Env).To(ContainElement(entry))
	var source string
	for _, m := range live.Mounts {
		if m.Destination == data {
			Expect(m.Type).To(Equal("volume"))
			Expect(m.Name).To(Equal(in.Name("data")))
			Expect(m.RW).To(BeTrue())
			source = m.Source
		}
	}
	Expect(source).NotTo(BeEmpty(), "nothing is mounted at %s: %+v", data, live.Mounts)
	in.Eventually(ctx, trial.IntervalDelivered, func(g Gomega) {
		written, err := on.Exec(ctx, "cat", path.Join(source, "environment"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Split(written, "\n")).To(ContainElement(entry))
	}).Should(Succeed())
}
