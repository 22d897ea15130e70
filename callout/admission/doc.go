// Package admission decides who may connect, and as what.
//
// It exists to hold the fleet's rules apart from how tokens are verified
// (package token) and how the broker asks (package service): what a role means
// is said here and, for the subjects themselves, in package protocol. Deny is
// the default: only a verified token with exactly one of the two roles and a
// subject that is a valid id is granted anything.
//
// It may import protocol, token and refusal, and nothing of NATS.
package admission
