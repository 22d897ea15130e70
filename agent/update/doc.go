// Package update remembers what an update of a container must not forget when the
// agent is killed in the midst of it: which container was the last good one, what
// of a desired container was tried and did not work, and how often a container was
// started again.
//
// It exists so that the way back is there after a power cut, too, and so that what
// did not work is not tried for ever. It decides nothing and asks podman nothing:
// where a container stands on its way follows from its name, which podman keeps.
// It imports protocol and keep alone of this module.
package update
