// Package brokertest is a broker for the agent's tests: a real nats-server with the
// fleet's two accounts, made from what protocol says. It is a process of its own,
// the test binary in another role, so that it can be killed as a machine kills.
// In place of the callout it verifies tokens by itself.
//
// Nothing but tests may import it. It imports protocol, issuertest and internal/port
// alone of this module.
package brokertest
