// Package facts finds out what the device is.
//
// It exists so that the operator and people see a device's software without
// logging in to it. What cannot be found out is left out: no fact is worth an
// agent that does not start. It imports protocol alone of this module.
package facts
