// Package command answers what admins ask a device.
//
// It exists because a command's subject can be reached by others than admins: so
// what counts is where the answer goes, and that the payload is a command. What
// counts not is not answered, as an answer is what an attacker would want. It
// imports protocol alone of this module.
package command
