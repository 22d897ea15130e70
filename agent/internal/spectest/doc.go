// Package spectest draws containers of every shape, and changes of exactly one of
// their fields, for the property tests of the agent.
package spectest
