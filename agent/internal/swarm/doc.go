// Package swarm is many devices in one process: of each no more than the agent's
// connection to the broker and what it does with it at once, without podman.
//
// It exists so that the return of thousands of devices can be measured with the
// code that devices run, beside clients as they come. It is no part of the agent.
// It imports protocol, connection and credential alone of this module.
package swarm
