// Package enrol is the fleet's enrolment service: it makes a device one of the fleet
// for a token that works once, and takes a device's next key for a token that the
// device itself got from the issuer.
//
// Anybody may ask, and nobody is refused for where he asks from: what a source fails
// at has it wait in another line than those who fail seldom, and only so much is looked
// up at once.
//
// It exists so that no device is ever handed a private key, and none holds a right at
// the issuer: what a device may have done to its own keys is done here. It imports
// protocol alone of this module.
package enrol
