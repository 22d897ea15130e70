// Package admission decides who may connect, and as what.
//
// It exists to put together how tokens are verified (package token), who is what
// (package rules) and what that permits (package protocol), apart from how the
// broker asks (package service). Deny is the default: only a verified token that
// fits the rules in one way and names a valid id is granted anything.
//
// It may import protocol, token, rules and refusal, and nothing of NATS.
package admission
