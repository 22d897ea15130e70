// Package connection keeps one connection to the broker, for as long as the agent
// runs.
//
// It exists because no device is ever lost: every connection presents an access
// token that was made since the last was lost, or, if the issuer cannot be asked, the
// last one once more; attempts never end, neither the issuer's nor the broker's
// absence stops anything else, and attempts are spread so that a fleet that comes
// back does not bring its broker down again. It imports protocol and credential
// alone of this module.
package connection
