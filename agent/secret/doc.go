// Package secret opens what is sealed for this device, and keeps the values where
// podman keeps secrets.
//
// It exists so that no value is ever on the agent's own disk, in its log or in what
// it says of the device: what is written down is sealed, and a value is told from
// another by a keyed hash whose key never leaves the device. It imports protocol,
// drift and keep alone of this module.
package secret
