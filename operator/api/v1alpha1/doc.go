// Package v1alpha1 holds the resources of a fleet: Device and Deployment.
//
// It exists as a package of its own so that suites and other programs can use
// the types without the controllers. It may import only k8s.io/apimachinery.
//
// What the API server refuses stands in the markers of the types. It is what
// package protocol refuses, and a little more, so that whatever is accepted can
// be sent to a device. Two things cannot be said there and are reported in a
// Deployment's status instead: that what a device should run fits into one
// document, and that no two Deployments want the same container name on a device.
//
// +kubebuilder:object:generate=true
// +groupName=fleet.seatrial.dev
package v1alpha1
