// Package controller brings the cluster's resources, the fleet's buckets and
// what devices say together.
//
// It exists to keep two controllers that share one picture of the fleet: one
// for each device, which renders and writes what the device should run, and one
// for each deployment, which adds up how the devices are doing. It may import
// protocol and the rest of operator/, and nothing else of this module.
package controller
