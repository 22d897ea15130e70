// Package jsonfile reads and writes small JSON documents on disk.
//
// It exists because every piece of state the harness keeps must survive a
// kill at any instant: a document is either the old one or the new one, never
// half of one, and never readable by other users. It may import nothing of
// this module.
package jsonfile
