package settings

import "strings"

// Etcd are the arguments of etcd. What a crash of the machine would lose can be
// made again: it does not wait for the disk.
func Etcd() []string {
	return []string{
		"--name=default",
		"--data-dir=" + Data + "/server/etcd",
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=default=http://127.0.0.1:2380",
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--auto-compaction-retention=10m",
	}
}

// APIServer are the arguments of kube-apiserver on a node of this address.
func APIServer(address string) []string {
	return []string{
		"--advertise-address=" + address,
		"--bind-address=0.0.0.0",
		"--secure-port=6443",
		"--etcd-servers=http://127.0.0.1:2379",
		"--client-ca-file=" + TLS + "/ca.crt",
		"--tls-cert-file=" + TLS + "/apiserver.crt",
		"--tls-private-key-file=" + TLS + "/apiserver.key",
		// Nobody has a certificate of this name: without the flags the controllers
		// and the scheduler complain without end that they find no such authority.
		"--requestheader-client-ca-file=" + TLS + "/ca.crt",
		"--requestheader-allowed-names=front-proxy",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--kubelet-certificate-authority=" + TLS + "/ca.crt",
		"--kubelet-client-certificate=" + TLS + "/admin.crt",
		"--kubelet-client-key=" + TLS + "/admin.key",
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--service-account-issuer=https://kubernetes.default.svc." + Domain,
		"--service-account-key-file=" + TLS + "/sa.pub",
		"--service-account-signing-key-file=" + TLS + "/sa.key",
		"--service-cluster-ip-range=" + Services,
		"--service-node-port-range=" + NodePorts,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}
}

// Controllers are the arguments of kube-controller-manager. With the client's
// default limit of 20 requests a second the start of the controllers takes 4 s
// longer.
func Controllers() []string {
	return append(client("controllers"),
		"--root-ca-file="+TLS+"/ca.crt",
		"--service-account-private-key-file="+TLS+"/sa.key",
		"--use-service-account-credentials=true",
		"--cluster-signing-cert-file="+TLS+"/ca.crt",
		"--cluster-signing-key-file="+TLS+"/ca.key",
		"--cluster-cidr="+Pods,
		"--allocate-node-cidrs=false",
		"--enable-hostpath-provisioner=true",
		"--kube-api-qps=300", "--kube-api-burst=600",
	)
}

// Scheduler are the arguments of kube-scheduler.
func Scheduler() []string { return client("scheduler") }

// client are arguments of a program that serves nobody outside and has no second
// of its kind.
func client(name string) []string {
	credential := Credential(name)
	return []string{
		"--kubeconfig=" + credential,
		"--authentication-kubeconfig=" + credential,
		"--authorization-kubeconfig=" + credential,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--profiling=false",
	}
}

// Kubelet are the arguments of kubelet.
func Kubelet(hostname, address string, labels []string) []string {
	args := []string{
		"--config=" + kubeletPath,
		"--kubeconfig=" + Credential("kubelet"),
		"--hostname-override=" + hostname,
		"--node-ip=" + address,
	}
	if len(labels) > 0 {
		args = append(args, "--node-labels="+strings.Join(labels, ","))
	}
	return args
}

// Proxy are the arguments of kube-proxy.
func Proxy() []string { return []string{"--config=" + proxyPath} }
