// Package trial is the words that specs of all suites are written in: deploy,
// settle, ask a device, look whether anything was touched.
//
// It exists so that the rehearsal's specs and those of other suites say the same
// thing in the same way, hold a stack in the same way ([Hold]), and leave nothing
// behind: what a [Trial] makes bears names of its own run and goes with the spec.
// Gomega's fail handler must be registered. The package may import framework,
// fixtures, protocol, operator/api and suites/profile and wire, and no product.
package trial
