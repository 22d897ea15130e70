// Package drift says in what a live container differs from the desired one.
//
// It exists because replacing a container that is as it should be is the worst
// thing an agent can do to a device: so the comparison is structural, field by
// field, after taking away what the engine and the image add by themselves, and
// every difference has a name. It is pure: package engine brings what is compared.
// It imports protocol and mark alone of this module.
package drift
