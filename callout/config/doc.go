// Package config reads the callout's configuration.
//
// It exists because a callout that starts with half of what it should know locks
// out a fleet, or lets in what it should not: so every key is checked before
// anything starts, a key that is not known is an error, and all that is wrong is
// said at once, by file and key. It imports nothing of this module but protocol,
// callout/rules and internal/table.
package config
