// Package rehearsal holds the seven specs that say whether a fleet keeps its
// promise: no device is ever lost, and nothing lands where it should not.
//
// It exists apart from the stack it runs against: a spec sees a
// [profile.Stack], whatever profile made it, and asserts on outer surfaces
// alone (custom resources, the broker as a device or an admin sees it, podman
// on the device, the device's shell). Every spec makes its own deployments,
// under names of its own run, and takes them away again; so it proves things
// anew on a stack that has been up for days, and may be called from any suite:
//
//	It("aggregates the status", func(ctx SpecContext) { rehearsal.Aggregate(ctx, input) })
//
// Gomega's fail handler must be registered, as in every Ginkgo suite. The
// package may import framework, fixtures, protocol, operator/api and suites, and
// no product.
package rehearsal
