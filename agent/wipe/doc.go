// Package wipe takes a device out of its fleet, on the device.
//
// It exists so that a decommission that was ordered ends, whatever happens to the
// agent meanwhile: the order lies on the disk before the admin is told that it was
// taken, each step may be repeated, and what a killed agent left is finished by the
// next one, which needs no key and no broker for it. It imports keep and
// internal/durable alone of this module.
package wipe
