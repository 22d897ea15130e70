package settings

import "fmt"

// File is a file of configuration.
type File struct {
	// Path is where it lies, Text what is in it.
	Path, Text string
}

// Runtime is the configuration of containerd and of the network of pods.
func Runtime() []File {
	return []File{
		{Path: "/etc/containerd/config.toml", Text: containerd},
		{Path: "/etc/cni/net.d/10-bridge.conflist", Text: fmt.Sprintf(network, NodePods)},
	}
}

// containerd without what needs other file systems. The score by which the kernel
// chooses whom to kill may not be lowered without CAP_SYS_RESOURCE, and no pod
// would start: restrict_oom_score_adj.
const containerd = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + Pause + `"
  enable_selinux = false
  disable_apparmor = true
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
`

// network keeps the addresses that are given out in /var/lib/cni, not in /run:
// after a crash an address that is given out twice reaches the wrong pod.
const network = `{
  "cniVersion": "1.0.0",
  "name": "cbr0",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {
        "type": "host-local", "dataDir": "/var/lib/cni/networks",
        "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]
}
`

// Where the configuration of kubelet and kube-proxy lies.
const (
	kubeletPath = "/var/lib/kubelet/config.yaml"
	proxyPath   = Data + "/agent/kube-proxy.yaml"
)

// Node is the configuration of kubelet and kube-proxy.
func Node(hostname string) []File {
	return []File{
		{Path: kubeletPath, Text: kubelet},
		{Path: proxyPath, Text: fmt.Sprintf(proxy, Credential("proxy"), Pods, hostname)},
	}
}

// kubelet does not look after the disk, which is the machine's: with the default
// thresholds a full machine would have it throw images away that no registry can
// give back. The limit of open files is one that may be set without
// CAP_SYS_RESOURCE.
const kubelet = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: ` + TLS + `/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: ` + TLS + `/kubelet.crt
tlsPrivateKeyFile: ` + TLS + `/kubelet.key
containerRuntimeEndpoint: unix://` + Containerd + `
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
maxOpenFiles: 16384
clusterDNS: [` + DNS + `]
clusterDomain: ` + Domain + `
resolvConf: /etc/resolv.conf
imageGCHighThresholdPercent: 100
evictionHard: {"imagefs.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%"}
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
volumePluginDir: /var/lib/kubelet/volumeplugins
`

// proxy leaves alone what is the machine's: zero means that the kernel's own
// values of connection tracking stay.
const proxy = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 0.0.0.0
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: %s}
clusterCIDR: %s
hostnameOverride: %s
mode: iptables
iptables: {minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`
