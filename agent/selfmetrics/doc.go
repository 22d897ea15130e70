// Package selfmetrics says how the agent itself is doing, on a socket of the device.
//
// It exists so that whoever stands before a device, or a collector that runs there,
// sees what the agent costs and whether it gets on, without the fleet. What it says
// is Prometheus' text format, which is written here in a page: the client library
// would cost the agent a fifteenth of its memory. It imports nothing of this module.
package selfmetrics
