// Package facts finds out what the device is, and what it is short of.
//
// It exists so that the operator and people see a device's software, clock and
// shortages without logging in to it. What cannot be found out is left out: no fact
// is worth an agent that does not start. What moves all the time is told only when
// it has moved enough to matter, as each telling is a write to the broker. It
// imports protocol alone of this module.
package facts
