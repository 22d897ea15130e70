// Package wire speaks to a fleet's broker the way devices and admins do: with an
// access token, over the subjects that protocol names.
//
// It exists so that specs assert on what the broker lets a token's bearer see
// and do, and on nothing else. It holds no key and mints nothing: a [Client] is
// given a token. It may import protocol, and no fixture, no framework and no
// product.
package wire
