package controller

// What the operator may do in a cluster. `make generate` makes
// operator/config/rbac/role.yaml of it.
//
// Patch on the resources themselves is for labels of Devices and finalizers of
// Deployments; nothing but the status of either is otherwise changed.
//
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=devices,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=devices/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments/status,verbs=get;patch;update
// +kubebuilder:rbac:groups=fleet.seatrial.dev,resources=deployments/finalizers,verbs=update
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
