// Package desired follows the desired state of one device: over the wire while
// there is a broker, from disk while there is none.
//
// It exists so that the rest of the agent sees one thing, the state to bring about,
// and none of the ways in which it may come, fail to come, or be forged. A ring at
// the door is never believed, it only makes the agent read; what is read is decoded
// strictly and must be for this device; what was accepted is kept on disk. It
// imports protocol and internal/durable alone of this module.
package desired
