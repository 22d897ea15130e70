// Package settings is how the programs of a node are configured: files and
// arguments, and nothing that acts.
//
// Values that look odd were each found necessary where the node is a container
// of an engine on a machine whose root lacks capabilities; the reason stands
// beside them. It may import the standard library alone.
package settings

// Networks and addresses of the cluster: those of k3s, so that what is written
// for one works on the other.
const (
	// Pods is the network of all pods, NodePods the part that this node has.
	Pods, NodePods = "10.42.0.0/16", "10.42.0.0/24"
	// Services is the network of services, API and DNS are two of them.
	Services, API, DNS = "10.43.0.0/16", "10.43.0.1", "10.43.0.10"
	// Domain is the cluster's.
	Domain = "cluster.local"
	// NodePorts are the ports that services may ask for on the node.
	NodePorts = "30000-32767"
)

// Where things lie in a node.
const (
	// Data is k3s' folder: k3d writes into it.
	Data = "/var/lib/rancher/k3s"
	// TLS holds keys and certificates, Credentials the programs' kubeconfigs.
	TLS, Credentials = Data + "/server/tls", Data + "/server/cred"
	// Manifests are applied when they change. k3d rewrites coredns.yaml there.
	Manifests = Data + "/server/manifests"
	// Admin is the administrator's kubeconfig, which k3d's entrypoint uses.
	Admin = "/etc/rancher/k3s/k3s.yaml"
	// Logs holds what each program says.
	Logs = "/var/log/kube"
	// Containerd is the socket of containerd.
	Containerd = "/run/containerd/containerd.sock"
	// Server is the API server's URL in the node.
	Server = "https://127.0.0.1:6443"
	// Shipped holds the manifests, and ShippedImages the images, of the node image.
	Shipped, ShippedImages = "/usr/share/seatrial/manifests", "/usr/share/seatrial/images"
)

// Pause is the image that holds the namespaces of pods.
const Pause = "localhost/seatrial/pause:1"

// Credential returns the path of a program's kubeconfig.
func Credential(name string) string { return Credentials + "/" + name + ".kubeconfig" }
