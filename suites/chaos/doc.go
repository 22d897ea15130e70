// Package chaos holds the specs that disturb a stack in ways a rehearsal does not:
// power cuts, reboots, a network that is gone for a minute, an issuer that is down
// while the broker restarts, products that are rolled or killed in the middle of
// their work.
//
// It exists apart from the rehearsal because it takes minutes, and because not
// every profile can do everything: a spec whose stack declares that it cannot cut
// a device's network, say, is skipped with that reason. What is asserted is the
// rehearsal's promise: no device is lost, nothing is recreated needlessly, and
// status converges to what was asked for last. The package may import framework,
// fixtures, protocol, operator/api and suites, and no product.
package chaos
