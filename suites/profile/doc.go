// Package profile puts stages together to whole stacks: which parts a profile
// has, what each needs of the others, and what specs see of the result.
//
// It exists so that the command line, the suites and whoever reuses them bring
// up the same thing in the same way. A [Harness] is a profile in an environment,
// with its records, intervals and artifacts; a [Stack] is what stands when it is
// up. The package may import framework, fixtures and protocol, and no product.
package profile
