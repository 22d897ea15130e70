// Package keep keeps what the agent has to remember in small files of JSON.
//
// It exists so that all that is remembered is whole at any time, is nobody else's to
// read, and is forgotten in one way where a file cannot be read. It imports
// internal/durable, and nothing else of this module.
package keep
