// Package health finds out whether containers work: it carries out their checks at
// their pace, and says when what it knows of one has changed.
//
// It exists because podman's own checks need a service manager for their timers and
// know commands alone. It counts as podman does. A check takes no worker's time,
// and one that hangs is no other's trouble. It imports protocol alone of this
// module.
package health
