// Package operator is the product that turns Deployments into what each device
// should run, and what devices say into resources and their status.
//
// This package puts its parts together; what they do stands in render, aggregate,
// fleet, bucket and controller. It may import protocol, and nothing else of this
// module outside operator/.
package operator
