// Package process runs daemons that outlive the harness, finds them again and
// stops them to the last descendant.
//
// It exists because a warm bring-up reuses processes that an earlier run
// started: they need a session of their own, a record that is never mistaken
// when the kernel reuses a process id, and a mark by which they are found when
// the harness was killed before it could write that record. It knows nothing of
// what it runs, and may import only framework/jsonfile and framework/redact.
package process
