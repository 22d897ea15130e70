// Package interval names every time the harness waits, so that a slow machine
// is a matter of one file and not of edits all over the code.
//
// It exists because a timeout that is written where it is used is either too
// short for somebody's machine or too long for everybody else's. Names are
// "<what>/<state>", such as "broker/ready"; whoever waits declares Defaults next
// to the code that waits. It may import nothing of this module.
package interval
