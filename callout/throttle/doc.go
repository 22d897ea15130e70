// Package throttle bounds what the failing connections of one source cost, and how
// many connections one device is given.
//
// It exists because whoever can reach the broker can have the callout sign, encrypt
// and write down one refusal after the other. What it does not do is refuse
// anybody: a fleet may be behind one address, and of its devices those with good
// tokens must come in while others fail. So every token is verified, and it is
// failures alone that are counted; a source that has too many of them gets no
// answers to further ones, which also holds each up until the server's own timeout.
//
// A device that has a good token may not have the broker hold one connection after
// the other for it, either: each costs memory there that all share. Admissions of one
// device are counted, many pass at once and a few a minute ever after. Nobody is
// locked out by it: whoever has none left has the next one within seconds.
//
// It imports nothing of this module.
package throttle
