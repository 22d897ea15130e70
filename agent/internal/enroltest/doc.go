// Package enroltest is an enrolment service for the agent's own tests, in front of
// the issuer of package issuertest.
//
// It exists because products do not import each other: the operator's service is
// tested with the operator, and both speak by protocol. It imports protocol and
// issuertest alone of this module.
package enroltest
