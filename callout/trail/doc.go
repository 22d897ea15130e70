// Package trail keeps what was decided in the fleet's audit stream.
//
// It exists because a callout's log goes where its pod goes, and two callouts
// write two of them: who was admitted, who was not and who was thrown out is to be
// found in one place. Admission never waits for it: what was decided stands in
// the log before it is known to anybody, and goes to the stream from a queue of
// bounded length, in batches, as soon as the broker takes it.
//
// It may import protocol and audit.
package trail
