package chaos_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/trial"
)

func TestChaos(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "chaos")
}

// input is what specs work with.
var input chaos.Input

var _ = trial.Hold(func(t trial.Trial) { input = chaos.Input{Trial: t} }, chaos.Intervals())

var _ = Describe("The promise", Ordered, ContinueOnFailure, func() {
	It("survives a power cut while a deployment changes", func(ctx SpecContext) { chaos.PowerCut(ctx, input) })
	It("survives a reboot in the same containers", func(ctx SpecContext) { chaos.Reboot(ctx, input) })
	It("survives a network that is gone for a minute, with changes on both sides", func(ctx SpecContext) { chaos.NetworkCut(ctx, input) })
	It("survives an issuer that is down while the broker restarts", func(ctx SpecContext) { chaos.IssuerOutage(ctx, input) })
	It("survives the death of the cluster's node", func(ctx SpecContext) { chaos.NodeKilled(ctx, input) })
	It("survives another version of the callout without losing a device", func(ctx SpecContext) { chaos.CalloutRolled(ctx, input) })
	It("survives an operator that is killed in the middle of a rollout", func(ctx SpecContext) { chaos.OperatorKilled(ctx, input) })
	It("throws a decommissioned device out and keeps it out, until it may come back", func(ctx SpecContext) { chaos.Decommissioned(ctx, input) })
	It("does what an admin asks of one container, and tells no secret", func(ctx SpecContext) { chaos.Commanded(ctx, input) })
	It("holds in the ledger of a fleet that random faults befall", func(ctx SpecContext) { chaos.Ledger(ctx, input) })
	It("finds containers by their ports, and starts again those that are not well", func(ctx SpecContext) { chaos.Checked(ctx, input) })
	It("delivers files and secrets, and shows no secret on the way", func(ctx SpecContext) { chaos.Data(ctx, input) })
	It("takes a device in by a token, once", func(ctx SpecContext) { chaos.Enrolled(ctx, input) })
})
