// Package options reads the arguments and the environment that k3d gives to a
// node's k3s.
//
// It exists because k3d speaks k3s' command line, of which a rehearsal needs a
// part. It may import the standard library alone.
package options

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Variables that k3d sets.
const (
	// kubeconfigVariable names where k3d reads the kubeconfig from.
	kubeconfigVariable = "K3S_KUBECONFIG_OUTPUT"
)

// ErrRole says that the arguments ask for something else than a server.
var ErrRole = errors.New("this image is a cluster of one node: the only command is \"server\"")

// Options are what is asked of a server node.
type Options struct {
	// Names are further names and addresses of the API server.
	Names []string
	// Disabled are the manifests that are not applied, without their suffix.
	Disabled []string
	// Labels are the node's, as KEY=VALUE.
	Labels []string
	// Arguments are further ones of Kubernetes' programs, by program.
	Arguments map[string][]string
	// Kubeconfig is where the administrator's is wanted besides its usual place;
	// empty means nowhere.
	Kubeconfig string
	// Ignored are arguments that k3s knows and this does not.
	Ignored []string
}

// programs are the flags that hand an argument on, with whom they hand it to.
var programs = map[string]string{
	"--kube-apiserver-arg":          "kube-apiserver",
	"--kube-controller-manager-arg": "kube-controller-manager",
	"--kube-scheduler-arg":          "kube-scheduler",
	"--kubelet-arg":                 "kubelet",
	"--kube-proxy-arg":              "kube-proxy",
}

// Parse reads the arguments after the program's name, and the environment.
func Parse(args []string) (Options, error) {
	o := Options{Arguments: map[string][]string{}, Kubeconfig: os.Getenv(kubeconfigVariable)}
	if len(args) == 0 || args[0] != "server" {
		return o, fmt.Errorf("%w: %q", ErrRole, args)
	}
	for rest := args[1:]; len(rest) > 0; {
		flag, value, joined := strings.Cut(rest[0], "=")
		program := programs[flag]
		if program == "" && flag != "--tls-san" && flag != "--disable" && flag != "--node-label" {
			o.Ignored = append(o.Ignored, rest[0])
			rest = rest[1:]
			continue
		}
		rest = rest[1:]
		if !joined {
			if len(rest) == 0 {
				return o, fmt.Errorf("%s lacks its value", flag)
			}
			value, rest = rest[0], rest[1:]
		}
		switch {
		case program != "":
			o.Arguments[program] = append(o.Arguments[program], "--"+value)
		case flag == "--tls-san":
			o.Names = append(o.Names, split(value)...)
		case flag == "--disable":
			o.Disabled = append(o.Disabled, split(value)...)
		default:
			o.Labels = append(o.Labels, value)
		}
	}
	return o, nil
}

// split takes a list apart that is joined by commas, without its empty parts.
func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
