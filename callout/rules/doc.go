// Package rules says which tokens of the issuer are granted which template of the
// fleet's permissions.
//
// It exists so that a fleet whose issuer names things otherwise, or that has
// observers and services beside devices and admins, need not change the program;
// and so that what is written down for it is known to make sense before anybody is
// admitted by it. What a template permits is package protocol's business alone.
//
// It may import protocol, token and refusal, and nothing of NATS.
package rules
