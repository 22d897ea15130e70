// Package command answers what admins ask a device.
//
// It exists because a command's subject can be reached by others than admins: so
// what counts is where the answer goes, and that the payload is a command. What
// counts not is not answered, as an answer is what an attacker would want. And no
// command may keep another one waiting: each has a deadline, and what is quick,
// what is work and what streams has places of its own. It imports protocol and audit
// alone of this module.
package command
