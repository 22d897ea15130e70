// Package settings keeps what the fleet's operator has published for all devices:
// at present the time over which they spread their connections.
//
// It exists because that time depends on the size of the fleet, which no device
// knows, and is needed when the broker is away, so that it cannot be asked for
// then. It imports protocol and internal/durable alone of this
// module.
package settings
