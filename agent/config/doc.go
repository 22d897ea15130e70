// Package config reads the agent's configuration.
//
// It exists because an agent is configured on a device that nobody looks at: all
// that is wrong is said at once, by file and key, before anything starts, and a
// key that is not known is an error. It imports protocol and internal/table, and
// credential, drift and wipe for what they define, alone of this module.
package config
