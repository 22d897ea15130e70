// Package protocol is the wire contract of a fleet: subjects, buckets, keys,
// messages and permissions.
//
// It exists so that the operator, the agent, the callout, the server
// configuration and the isolation suite are all made from one description. The
// promise that nothing lands where it should not rests on that description, so
// it is written down once and nowhere else.
//
// # Two accounts
//
// JetStream and the buckets live in account STATE. Devices and admins live in
// account DEVICES, which sees of STATE only what [Shares] names. Permissions
// alone would not isolate devices: the server does not check reply subjects, so
// with JetStream in their own account one device could have an answer of the
// server written over another device's key.
//
// # Trust
//
// What arrives over the wire is hostile until decoded: every Decode function
// here refuses unknown fields, trailing bytes, over-long documents and hostile
// names, and says what is wrong. A doorbell counts only if [IsOwnDoorbell] says
// so, a command only if [IsAdminInbox] accepts its reply subject: a device may
// reflect an answer of the server onto another device's subjects, but it can
// choose neither of those.
//
// The package imports the standard library alone, so that anything may import
// it.
package protocol
