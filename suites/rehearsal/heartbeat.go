package rehearsal

import (
	"context"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	ktypes "k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/trial"
)

// beatsWanted is how many heartbeats of a device show that it goes on.
const beatsWanted = 3

// Heartbeat shows that every device is alive, and that its Device resource
// appears by itself with its labels and says so.
//
// Resources of an earlier run are deleted first, so that what is found was made
// now; heartbeats are not stored, so those that arrive were sent now.
func Heartbeat(ctx context.Context, in Input) {
	ctx = in.Stack.Context(ctx)
	ctx, cancel := in.Within(ctx, trial.IntervalHeartbeat)
	defer cancel()
	admin := in.Admin(ctx)
	beats, err := admin.Heartbeats(ctx, protocol.AllHeartbeats)
	Expect(err).NotTo(HaveOccurred())

	By("deleting the Device resources of earlier runs")
	before := map[ktypes.UID]bool{}
	for _, d := range in.Stack.Devices {
		old := new(fleet.Device)
		err := in.Stack.Client.Get(ctx, client.ObjectKey{Name: d.ID()}, old)
		if apierrors.IsNotFound(err) {
			continue // it has not appeared yet
		}
		Expect(err).NotTo(HaveOccurred())
		before[old.UID] = true
		Expect(client.IgnoreNotFound(in.Stack.Client.Delete(ctx, old))).To(Succeed())
	}

	By("listening to heartbeats")
	heard := map[protocol.DeviceID][]uint64{}
	for !allHeard(in, heard) {
		beat, err := beats.Next(ctx)
		Expect(err).NotTo(HaveOccurred(), "heard so far: %v", heard)
		heard[beat.Device] = append(heard[beat.Device], beat.Sequence)
	}
	for device, sequence := range heard {
		for i := range sequence[1:] {
			Expect(sequence[i+1]).To(BeNumerically(">", sequence[i]), "heartbeats of %s: %v", device, sequence)
		}
	}

	By("waiting for the Device resources")
	for _, d := range in.Stack.Devices {
		in.Eventually(ctx, trial.IntervalHeartbeat, func(g Gomega) {
			found := new(fleet.Device)
			g.Expect(in.Stack.Client.Get(ctx, client.ObjectKey{Name: d.ID()}, found)).To(Succeed())
			g.Expect(before).NotTo(HaveKey(found.UID), "%s is the resource that was deleted", d.ID())
			for key, value := range d.Labels() {
				g.Expect(found.Labels).To(HaveKeyWithValue(key, value))
			}
			g.Expect(apimeta.IsStatusConditionTrue(found.Status.Conditions, fleet.ConditionReady)).
				To(BeTrue(), "conditions of %s: %v", d.ID(), found.Status.Conditions)
		}).Should(Succeed())
	}
}

// allHeard says whether every device has been heard often enough.
func allHeard(in Input, heard map[protocol.DeviceID][]uint64) bool {
	for _, d := range in.Stack.Devices {
		if len(heard[trial.ID(d)]) < beatsWanted {
			return false
		}
	}
	return true
}
