// Package api holds the custom resources of a fleet, one package for each
// version, and what generates their deep copies, custom resource definitions and
// role.
//
// The versions exist apart from the operator so that suites and other clients
// can import them without it. They may import Kubernetes' API machinery and
// protocol, and no other package of this module.
package api

//go:generate go tool controller-gen object paths=./v1alpha1
//go:generate go tool controller-gen crd paths=./v1alpha1 output:crd:dir=../config/crd
//go:generate go tool controller-gen rbac:roleName=fleet-operator paths=../controller output:rbac:dir=../config/rbac

// The chart brings its own copies along, as it is delivered without this folder.
//
//go:generate cp -r ../config/crd/. ../../charts/fleet-operator/files/crds
//go:generate cp ../config/rbac/role.yaml ../../charts/fleet-operator/files/role.yaml
