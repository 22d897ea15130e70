//go:build vm

package profile

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/chart"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/fixtures/cluster/k3d"
	"github.com/seatrial/seatrial/fixtures/cluster/k3d/nodeimage"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/fixtures/image"
	"github.com/seatrial/seatrial/fixtures/product"
)

// prepareVM makes what needs the network and minutes: inside of a lab there is no
// way out.
func prepareVM(ctx context.Context, options Options) error {
	m, err := newMachines(options)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // what is built keeps both cores busy by itself
	group.Go(func() error {
		_, err := m.programs.Build(ctx)
		if err != nil || m.onDevices == m.programs {
			return err
		}
		_, err = m.onDevices.Build(ctx)
		return err
	})
	group.Go(func() error { return m.devices.Prepare(ctx) })
	group.Go(func() error {
		_, err := cluster.Assets(ctx, m.kubernetes().Source)
		return err
	})
	if os.Getenv(k3d.ImageVariable) == "" {
		group.Go(func() error {
			_, err := nodeimage.Build(ctx, m.nodeSource())
			return err
		})
	}
	return group.Wait()
}

// kubernetes is where kubectl comes from.
func (m *machines) kubernetes() cluster.Processes {
	return cluster.Processes{Source: cluster.Source{Checkout: m.checkout}}
}

func (m *machines) nodeSource() nodeimage.Source { return nodeimage.Source{Checkout: m.checkout} }

// chart is the folder of one of the repository's charts.
func (m *machines) chart(name string) string { return filepath.Join(m.checkout, "charts", name) }

// agent is the path of the agent for devices.
func (m *machines) agent(ctx context.Context) (string, error) {
	path, err := m.onDevices.Path(agentProgram)(ctx)
	if err != nil {
		return "", fmt.Errorf("profile %s: %w", VM, err)
	}
	return path, nil
}

// agentUnits are what the agent is delivered with for systemd.
func (m *machines) agentUnits() fs.FS {
	return os.DirFS(filepath.Join(m.checkout, "agent", "systemd"))
}

// brokerForDevices is the broker as devices reach it: at the address that this
// machine has in their network.
func (m *machines) brokerForDevices(context.Context) (string, error) {
	return "nats://" + net.JoinHostPort(m.devices.Gateway().String(), strconv.Itoa(broker.ClientNodePort)), nil
}

// origin is the issuer's.
func origin() string {
	return (&url.URL{Scheme: "http", Host: net.JoinHostPort(issuerHost, strconv.Itoa(issuerPort))}).String()
}

// nodeOf is the node that the cluster's stage has brought up; nil if it is another
// profile's.
func nodeOf(ctx context.Context) Node {
	node, err := k3d.From(ctx)
	if err != nil {
		return nil
	}
	return node
}

func kubeconfig(ctx context.Context) (string, error) {
	c, err := cluster.From(ctx)
	if err != nil {
		return "", err
	}
	return c.Kubeconfig, nil
}

func loadImages(ctx context.Context, tarballs ...string) error {
	node, err := k3d.From(ctx)
	if err != nil {
		return err
	}
	return node.Load(ctx, tarballs...)
}

func heldImages(ctx context.Context) ([]string, error) {
	node, err := k3d.From(ctx)
	if err != nil {
		return nil, err
	}
	return node.Images(ctx)
}

// issuer is Zitadel by its own chart if the environment names that, which takes a
// registry for its images; else the stand-in by its chart.
func (m *machines) issuer(needs []string) (identity.Chart, error) {
	official, named := identity.Official{
		ValuesFile: m.chart("zitadel-values.yaml"), Origin: origin(), Kubeconfig: kubeconfig, Needs: needs,
	}.FromEnvironment()
	if named {
		return official.Provider()
	}
	return identity.Chart{
		Release: chart.Release{
			Name: identity.IssuerStage, Namespace: chart.FleetNamespace, Chart: m.chart("issuer"),
			Values: map[string]any{
				"origin":  origin(),
				"service": map[string]any{"port": issuerPort, "clusterIP": issuerClusterIP, "nodePort": issuerNodePort},
			},
		},
		Values:     issuerImages,
		Origin:     origin(),
		Kubeconfig: kubeconfig,
		Needs:      needs,
	}, nil
}

// issuerImages are the values of the issuer's chart that name images.
func issuerImages(ctx context.Context) (map[string]any, error) {
	loaded, err := image.LoadedFrom(ctx)
	if err != nil {
		return nil, err
	}
	program, err := loaded.Reference(issuerProgram)
	if err != nil {
		return nil, err
	}
	own, err := loaded.Reference(ownProgram)
	if err != nil {
		return nil, err
	}
	return map[string]any{"image": program, "volume": map[string]any{"owner": own}}, nil
}

// calloutInside is what the callout is connected with in the cluster.
func calloutInside(ctx context.Context) (product.CalloutInside, error) {
	known, err := identity.From(ctx)
	if err != nil {
		return product.CalloutInside{}, err
	}
	url, err := brokerInside(ctx)
	if err != nil {
		return product.CalloutInside{}, err
	}
	return product.CalloutInside{
		Issuer: known.Issuer, Project: known.ProjectID, BrokerURL: url, Encrypted: true, Rules: product.CalloutRules(),
	}, nil
}

// brokerInside is the broker as pods reach it.
func brokerInside(ctx context.Context) (string, error) {
	b, err := broker.From(ctx)
	if err != nil {
		return "", err
	}
	return b.InsideURL(), nil
}
