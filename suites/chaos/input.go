package chaos

import (
	"context"
	"time"

	"github.com/containers/podman/v5/libpod/define"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/framework/interval"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/suites/trial"
)

// Specs is how many specs the suite has.
const Specs = 13

// Names of the intervals.
const (
	// IntervalBack is how soon a device that was off must run what it should:
	// it boots first, which takes a machine without KVM half a minute.
	IntervalBack = "chaos/back"
	// IntervalCut is how long a device's network is gone.
	IntervalCut = "chaos/cut"
	// IntervalNoticed is how soon a device that is silent must be said to be.
	IntervalNoticed = "chaos/noticed"
	// IntervalThrownOut is how soon a device that is decommissioned must be out. The
	// promise is a second; the rest is for a machine on which operator, callout and
	// broker wait for each other's processor.
	IntervalThrownOut = "chaos/thrown-out"
	// IntervalSettled is how soon the fleet must be as it was asked to once nothing
	// disturbs it any more: a machine without KVM whose power was cut at last needs two
	// minutes and more for as many containers as there are.
	IntervalSettled = "chaos/settled"
	// IntervalLook is how long one look at a device's podman may take while faults befall
	// the fleet, and how often there is one: a busy machine without KVM needs a quarter of
	// a minute to let somebody in.
	IntervalLook = "chaos/look"
)

// Intervals are the defaults of the suite's own intervals.
func Intervals() interval.Defaults {
	return interval.Defaults{
		IntervalBack:      {Timeout: 3 * time.Minute, Poll: 500 * time.Millisecond},
		IntervalCut:       {Timeout: time.Minute, Poll: time.Second},
		IntervalNoticed:   {Timeout: 2 * time.Minute, Poll: time.Second},
		IntervalThrownOut: {Timeout: 3 * time.Second, Poll: 20 * time.Millisecond},
		IntervalLook:      {Timeout: 90 * time.Second, Poll: 5 * time.Second},
		IntervalSettled:   {Timeout: 5 * time.Minute, Poll: time.Second},
	}
}

// Input is what a spec works with.
type Input struct {
	trial.Trial
}

// level is the variable that specs change.
const level = "CHAOS_LEVEL"

// at is a change of a container's level.
func at(value string) func(*fleet.Container) {
	return func(c *fleet.Container) { c.Env = []fleet.EnvVar{{Name: level, Value: value}} }
}

// turn asks for another level of the deployment's first container.
func (in Input) turn(ctx context.Context, d *fleet.Deployment, value string) {
	GinkgoHelper()
	in.Change(ctx, d, func(spec *fleet.DeploymentSpec) { at(value)(&spec.Containers[0]) })
}

// runsAt waits until the container runs at this level on the device.
func (in Input) runsAt(ctx context.Context, wait string, on device.Device, container, value string) *define.InspectContainerData {
	GinkgoHelper()
	var live *define.InspectContainerData
	in.Eventually(ctx, wait, func(g Gomega) {
		var err error
		live, err = on.Inspect(ctx, container)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(live.State.Running).To(BeTrue(), "state of %s on %s: %s", container, on.ID(), live.State.Status)
		g.Expect(live.Config.Env).To(ContainElement(level + "=" + value))
	}).Should(Succeed())
	return live
}

// sameAgain waits until the container runs as it did, and asserts that it is the
// very same one: started again, but not made again.
func (in Input) sameAgain(ctx context.Context, on device.Device, seen *define.InspectContainerData) {
	GinkgoHelper()
	in.Eventually(ctx, IntervalBack, func(g Gomega) {
		now, err := on.Inspect(ctx, seen.Name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(now.State.Running).To(BeTrue(), "state of %s on %s: %s", seen.Name, on.ID(), now.State.Status)
	}).Should(Succeed())
	now, err := on.Inspect(ctx, seen.Name)
	Expect(err).NotTo(HaveOccurred())
	Expect(now.ID).To(Equal(seen.ID), "%s on %s was made again", seen.Name, on.ID())
}
