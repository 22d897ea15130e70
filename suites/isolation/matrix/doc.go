// Package matrix holds the attacks on a fleet: who tries what, how it must be
// refused, and the proof that nothing of the victim's has changed.
//
// It exists apart from the suites that run it because the same rows are to hold
// everywhere: against a broker that a test starts, on every change, and against a
// stack that is up. What a row attacks is derived from protocol, so that a bucket
// that is added is attacked without anybody thinking of it; what is allowed is
// listed here by hand ([grants]), so that a permission that is added turns rows red
// until somebody has said that it is meant.
//
// No row passes because a connection was broken. Before and after each the
// attacker does what it may, and its connection must be there. A refusal must be
// the expected one, in the broker's or the callout's own words. Where the broker
// says nothing, the proof is what is stored, byte for byte, and a later message
// that reaches the victim with nothing before it.
//
// The package may import protocol and suites/wire, and no fixture, no framework and
// no product.
package matrix
