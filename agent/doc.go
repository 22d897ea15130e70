// Package agent is the fleet's agent: the program that makes a device run what it
// should, and says so.
//
// It exists to put the parts together: the device's identity (credential), its
// connection (connection), what it should run (desired), podman (engine), the
// comparison (drift) and the work (reconcile), what it says of itself (report,
// facts) and what it is asked (command). Each keeps going when another cannot: a
// device whose broker or issuer is away goes on running, and mending, what it was
// last told.
//
// It may import protocol and its own packages, no other product and nothing of the
// harness.
package agent
