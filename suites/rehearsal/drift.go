package rehearsal

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
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
	admin := in.admin(ctx)
	one, _ := in.apart()
	d := in.deploy(ctx, "drift", groupOf(one),
		in.container("changed", func(c *fleet.Container) {
			c.Env = []fleet.EnvVar{{Name: level, Value: "one"}, {Name: sampleFile, Value: path.Join(data, "environment")}}
			c.Volumes = []fleet.Volume{{Name: in.name("data"), MountPath: data}}
		}),
		in.container("kept", func(c *fleet.Container) {
			c.Env = []fleet.EnvVar{{Name: level, Value: "kept"}}
		}),
	)
	in.settled(ctx, d)
	changed := in.running(ctx, one, in.name("changed"))
	kept := in.running(ctx, one, in.name("kept"))

	By("reading environment and volume from outside and from inside")
	in.hasEnvironment(ctx, one, changed, level+"=one")

	By("asking for two reconciles, and starting the agent again")
	in.reconcileIdle(ctx, admin, one, 2)
	in.restartAgent(ctx, admin, one)
	in.reconcileIdle(ctx, admin, one, 2)
	in.untouched(ctx, one, changed)
	in.untouched(ctx, one, kept)

	By("changing one variable")
	asked, err := one.Exec(ctx, "date", "+%s.%N")
	Expect(err).NotTo(HaveOccurred())
	in.change(ctx, d, func(spec *fleet.DeploymentSpec) { spec.Containers[0].Env[0].Value = "two" })
	var status *protocol.DeviceStatus
	in.eventually(ctx, IntervalDelivered, func(g Gomega) {
		var err error
		status, _, err = admin.Status(ctx, id(one))
		g.Expect(err).NotTo(HaveOccurred())
		reported, err := statusOf(status, in.name("changed"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(reported.Phase).To(Equal(protocol.ContainerRunning))
		g.Expect(reported.ContainerID).NotTo(Equal(changed.ID))
		g.Expect(reported.Replaced).NotTo(BeNil(), "the status does not say why it was replaced")
	}).Should(Succeed())
	in.settled(ctx, d)

	By("looking at what was replaced, and why")
	reported, err := statusOf(status, in.name("changed"))
	Expect(err).NotTo(HaveOccurred())
	Expect(reported.Replaced.Drift).To(ConsistOf(
		protocol.Difference{Field: "env." + level, Desired: "two", Live: "one"},
	))
	replaced := in.running(ctx, one, in.name("changed"))
	Expect(replaced.ID).To(Equal(reported.ContainerID))
	in.hasEnvironment(ctx, one, replaced, level+"=two")
	in.untouched(ctx, one, kept)

	By("making sure that it was replaced once, and stays")
	in.reconcileIdle(ctx, admin, one, 2)
	in.untouched(ctx, one, replaced)
	in.untouched(ctx, one, kept)
	in.createdOnce(ctx, one, strings.TrimSpace(asked), replaced.ID)
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
			Expect(m.Name).To(Equal(in.name("data")))
			Expect(m.RW).To(BeTrue())
			source = m.Source
		}
	}
	Expect(source).NotTo(BeEmpty(), "nothing is mounted at %s: %+v", data, live.Mounts)
	in.eventually(ctx, IntervalDelivered, func(g Gomega) {
		written, err := on.Exec(ctx, "cat", path.Join(source, "environment"))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Split(written, "\n")).To(ContainElement(entry))
	}).Should(Succeed())
}

// reconcileIdle asks the device to reconcile so many times, and asserts that
// there was nothing to do.
func (in Input) reconcileIdle(ctx context.Context, admin *wire.Client, on device.Device, times int) {
	GinkgoHelper()
	for range times {
		reply := in.command(ctx, admin, on, protocol.VerbReconcile)
		Expect(reply.Changed).To(BeEmpty(), "a reconcile of %s without a cause", on.ID())
		Expect(reply.Status).NotTo(BeNil())
		for _, c := range reply.Status.Containers {
			Expect(c.Phase.Done()).To(BeTrue(), "%s: %+v", on.ID(), c)
		}
	}
}

// restartAgent starts the device's agent again, and returns when the new one is
// alive. It is known by its process, and by its heartbeats, which count from 1
// again.
func (in Input) restartAgent(ctx context.Context, admin *wire.Client, on device.Device) {
	GinkgoHelper()
	ctx, cancel := in.within(ctx, IntervalHeartbeat)
	defer cancel()
	before, err := on.AgentPID(ctx)
	Expect(err).NotTo(HaveOccurred())
	beats, err := admin.Heartbeats(ctx, protocol.HeartbeatSubject(id(on)))
	Expect(err).NotTo(HaveOccurred())
	defer beats.Close() //nolint:errcheck // the connection ends with the spec
	var last uint64
	for last < beatsWanted {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred())
		last = beat.Sequence
	}

	Expect(on.RestartAgent(ctx)).To(Succeed())
	after, err := on.AgentPID(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(after).NotTo(Equal(before), "the agent's process is the same")
	for {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred())
		if beat.Sequence <= last {
			return
		}
		last = beat.Sequence
	}
}

// createdOnce asserts that since then the device has created exactly one
// container: the one with this id.
func (in Input) createdOnce(ctx context.Context, on device.Device, since, id string) {
	GinkgoHelper()
	out, err := on.Exec(ctx, "podman", "events", "--stream=false", "--since", since,
		"--filter", "type=container", "--filter", "event=create", "--format", "{{.ID}} {{.Name}}")
	Expect(err).NotTo(HaveOccurred())
	var created []string
	for line := range strings.Lines(out) {
		created = append(created, strings.TrimSpace(line))
	}
	Expect(created).To(HaveLen(1), fmt.Sprintf("containers that %s created", on.ID()))
	Expect(created[0]).To(HavePrefix(id + " "))
}
