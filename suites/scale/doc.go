// Package scale measures how a fleet of thousands comes back to its broker.
//
// It exists because what keeps a fleet from being lost shows only when all of it
// comes at once. Real brokers, callouts and an issuer run as processes on this
// machine; devices are the agent's connections, many in one process, without
// podman. Baselines run beside them: a password instead of a callout, and a callout
// on synadia-io/callout.go. All of it ends with the run, however that ends.
//
// Program storm (suites/scale/storm) is what `make bench-storm` runs; docs/scale.md
// says how to read it. It knows products as programs alone.
package scale
