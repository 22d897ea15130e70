// Package callout is the fleet's authorization callout: the program that the
// broker asks who may connect.
//
// It exists to put the parts together and keep them running: the issuer's keys
// (package token), the rules (package admission), the broker's requests (package
// service), and what is to be seen from outside (packages audit and metrics).
// The order of starting does not matter: with the issuer or the broker away it
// waits, says so at /readyz, and comes ready by itself.
//
// It may import protocol and its own packages, no other product and nothing of
// the harness.
package callout
