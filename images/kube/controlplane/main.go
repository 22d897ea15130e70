// Command controlplane is etcd, kube-apiserver and kubectl in one static
// binary: which program it is follows from the name it was started by, or from
// its first argument ("controlplane kubectl ...").
//
// It exists because the embedded profile needs a real Kubernetes API on
// machines that reach a Go module proxy and nothing else: no registry, no
// release downloads. It is a module of its own because k8s.io/kubernetes can
// only be required together with a replace line for each of its staging
// modules, and those must not reach the modules that reuse our fixtures.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/etcdmain"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "controlplane" && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	switch name {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(apiserver.NewAPIServerCommand()))
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
	default:
		fmt.Fprintln(os.Stderr, "usage: controlplane etcd|kube-apiserver|kubectl [ARGUMENT...]")
		os.Exit(2)
	}
}
