// Package pace tells the fleet over which time to spread its connections.
//
// It exists because that time is the fleet's size divided by what broker, callout
// and issuer admit a second. The operator alone knows the first, and sees the
// second whenever the broker was away: devices say that they are back. A constant
// would be too short for a large fleet, which then brings its broker down again,
// or too long for everybody else. It may import protocol and the operator's bucket
// and fleet alone.
package pace
