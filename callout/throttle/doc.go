// Package throttle bounds what the failing connections of one source cost.
//
// It exists because whoever can reach the broker can have the callout sign, encrypt
// and write down one refusal after the other. What it does not do is refuse
// anybody: a fleet may be behind one address, and of its devices those with good
// tokens must come in while others fail. So every token is verified, and it is
// failures alone that are counted; a source that has too many of them gets no
// answers to further ones, which also holds each up until the server's own timeout.
//
// It imports nothing of this module.
package throttle
