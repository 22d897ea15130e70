// Package engine is podman as the agent needs it: a few verbs, each bounded by its
// context, and containers in the words of package drift.
//
// It exists so that what differs between podman 4 and 5, and what podman's API
// says in words of its own, is dealt with in one place. It decides nothing. It
// imports protocol, drift, mark and internal/durable alone of this module.
package engine
