// Package v1alpha1 holds the resources of a fleet: Device and Deployment.
//
// It exists as a package of its own so that suites and other programs can use
// the types without the controllers. It may import only k8s.io/api and
// k8s.io/apimachinery (and controller-runtime's scheme builder).
//
// +kubebuilder:object:generate=true
// +groupName=fleet.seatrial.dev
package v1alpha1

//go:generate go tool controller-gen object crd:crdVersions=v1 paths=. output:crd:artifacts:config=../../config/crd
