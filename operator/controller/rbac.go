package controller

// What the operator may do in a whole cluster. `make generate` makes
// operator/config/rbac/role.yaml of it. Where it is one of several it needs a lease in
// its own namespace, too, and tells of that by events: the chart gives it that, as here
// it would be every lease there is.
//
// Patch on the resources themselves is for labels of Devices and finalizers of
// Deployments; nothing but the status of either is otherwise changed.
//
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=devices,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=devices/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments/finalizers,verbs=update
