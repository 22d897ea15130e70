// Package isolation holds the specs that attack a stack that is up: every row of
// package matrix, as a real device against a real other one, as an admin, and as
// nobody.
//
// It exists beside the matrix because the same rows run there on every change
// against a broker that a test starts: here the broker, the callout, the issuer and
// the agents are the stack's own, and what is attacked belongs to a device that
// runs containers. The package may import framework, fixtures, protocol,
// operator/api and suites, and no product.
package isolation
