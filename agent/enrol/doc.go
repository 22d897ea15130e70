// Package enrol makes a device one of its fleet, and keeps its key young.
//
// It exists so that a device's private key is made on it and never leaves it: what
// goes to the enrolment service is the public half, the first time with a token that
// works once, later with an access token of the device's own. The key that is on its
// way lies in a file beside the one in use, so that whatever is cut short is taken
// up where it was. It imports protocol and credential alone of this module.
package enrol
