package rehearsal_test

import (
	. "github.com/onsi/ginkgo/v2"

	"github.com/seatrial/seatrial/suites/rehearsal"
)

var _ = Describe("The promise", Ordered, ContinueOnFailure, func() {
	It("1 hears every device within a minute, and Device resources appear with their labels", func(ctx SpecContext) {
		rehearsal.Heartbeat(ctx, input)
	})
	It("2 lets a deployment reach only the devices that its selector matches", func(ctx SpecContext) {
		rehearsal.Selector(ctx, input)
	})
	It("3 aggregates the status of a deployment back", func(ctx SpecContext) {
		rehearsal.Aggregate(ctx, input)
	})
	It("4 lands env and volume on the real container, and touches it only when they change", func(ctx SpecContext) {
		rehearsal.Drift(ctx, input)
	})
	It("5 lets an admin's token read any device's heartbeat", func(ctx SpecContext) {
		rehearsal.AdminReads(ctx, input)
	})
	It("6 keeps a device's token from everything of another device", func(ctx SpecContext) {
		rehearsal.Isolation(ctx, input)
	})
	It("7 brings every agent back with a fresh token after the broker is killed", func(ctx SpecContext) {
		rehearsal.Recovery(ctx, input)
	})
})
