// Package audit writes down on the device what admins asked of it.
//
// It exists because a device belongs to whoever stands before it: that one can
// read who had what done to it, without asking the fleet. A line is written before
// a command is carried out and another one after, so that a command under way when
// the agent dies leaves its line. It imports nothing of this module.
package audit
