package options_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/seatrial/seatrial/images/node/internal/options"
)

func TestParse(t *testing.T) {
	t.Setenv("K3S_KUBECONFIG_OUTPUT", "/output/kubeconfig.yaml")
	for name, c := range map[string]struct {
		args []string
		want options.Options
	}{
		"what k3d always gives": {
			[]string{"server", "--tls-san", "127.0.0.1"},
			options.Options{Names: []string{"127.0.0.1"}},
		},
		"no load balancer leaves an empty name": {
			[]string{"server", "--tls-san", ""},
			options.Options{},
		},
		"lists and joined values": {
			[]string{"server", "--tls-san=a,b", "--disable=coredns,storage", "--node-label", "zone=quay", "--node-label=deck=1"},
			options.Options{Names: []string{"a", "b"}, Disabled: []string{"coredns", "storage"}, Labels: []string{"zone=quay", "deck=1"}},
		},
		"arguments of programs": {
			[]string{"server", "--kubelet-arg=max-pods=20", "--kube-apiserver-arg", "v=3", "--kubelet-arg", "v=2"},
			options.Options{Arguments: map[string][]string{
				"kubelet":        {"--max-pods=20", "--v=2"},
				"kube-apiserver": {"--v=3"},
			}},
		},
		"what k3s knows and we do not": {
			[]string{"server", "--flannel-backend=none", "--secrets-encryption", "--tls-san", "a"},
			options.Options{Names: []string{"a"}, Ignored: []string{"--flannel-backend=none", "--secrets-encryption"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.Kubeconfig = "/output/kubeconfig.yaml"
			if c.want.Arguments == nil {
				c.want.Arguments = map[string][]string{}
			}
			got, err := options.Parse(c.args)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"agent"}, {"--tls-san", "a"}} {
		if _, err := options.Parse(args); !errors.Is(err, options.ErrRole) {
			t.Errorf("%q: %v, want ErrRole", args, err)
		}
	}
	if _, err := options.Parse([]string{"server", "--tls-san"}); err == nil {
		t.Error("a flag without its value is taken")
	}
}
