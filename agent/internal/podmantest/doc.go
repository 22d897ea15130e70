// Package podmantest gives a test a podman engine of its own, as
// net/http/httptest gives it a web server.
//
// It exists because what an engine shows of a container it made is what the agent
// decides by: only a real engine can say that. The engine lives in mount, PID,
// network, IPC and UTS namespaces of its own, so that it neither meets another
// engine of the machine nor leaves anything behind: with its first process, which
// is the test binary itself, everything in it ends. It adapts to what the machine
// cannot do (hybrid cgroups, resource limits that may not be raised).
//
// Nothing but tests may import it, and it imports nothing of this module.
package podmantest
