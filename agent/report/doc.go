// Package report tells the fleet about the device: documents that stay in the
// broker's buckets, and heartbeats that do not.
//
// It exists so that documents are written when something changed and after each
// reconnect, and never as a tick; what could not be written is written later, in
// the form it has by then. It imports protocol, and connection for its error,
// alone of this module.
package report
