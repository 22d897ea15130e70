//go:build vm

package profile

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/chart"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/fixtures/cluster/k3d"
	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/device/vm"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/fixtures/image"
	"github.com/seatrial/seatrial/fixtures/podlog"
	"github.com/seatrial/seatrial/fixtures/product"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/stage"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// variant links libvirt's client, which needs cgo.
var variant = binary.Variant{Name: "vm", Tags: []string{"vm"}, Cgo: true}

// ownProgram gives a volume to the user of the program that writes to it.
const ownProgram = "seatrial-own"

// Where the issuer is. Its origin is the same for this machine, pods and devices,
// each of which knows the name by another address.
const (
	issuerHost     = vm.IssuerHost
	issuerPort     = 8080
	issuerNodePort = 30080
	// issuerClusterIP is in the cluster's range of services (10.43.0.0/16, k3s's
	// own), outside of what is given out first.
	issuerClusterIP = "10.43.0.80"
)

// local is where this machine reaches what the node publishes.
const local = "127.0.0.1"

// vmIntervals are the intervals of the stages of the vm profile alone.
func vmIntervals() []interval.Defaults {
	return []interval.Defaults{k3d.Intervals(), vm.Intervals(), image.Intervals(), podlog.Intervals()}
}

// machines is the vm profile: a cluster whose node is a container, and devices that
// are virtual machines.
type machines struct {
	checkout string
	programs *binary.Source
	// onDevices are the programs that devices run.
	onDevices *binary.Source
	cluster   *k3d.Cluster
	devices   *vm.VMs
}

func newMachines(options Options) (*machines, error) {
	kinds, err := newScheme()
	if err != nil {
		return nil, err
	}
	m := &machines{checkout: options.Checkout, programs: binary.New(options.Checkout)}
	m.devices, err = vm.New(
		vm.Settings{Settings: device.Settings{Count: options.Devices, Intervals: device.AgentIntervals{Heartbeat: heartbeat}}},
		vm.Parts{
			Agent:    m.agent,
			Units:    m.agentUnits(),
			Identity: agentIdentity,
			Broker:   m.brokerForDevices,
		})
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", VM, err)
	}
	m.onDevices = m.programs.For(m.devices.Architecture(), agentProgram, sampleProgram)
	both := []string{local, m.devices.Gateway().String()}
	m.cluster, err = k3d.New(k3d.Settings{
		Source: m.nodeSource(),
		Ports: []k3d.Port{
			{Node: broker.ClientNodePort, Host: broker.ClientNodePort, Addresses: both},
			{Node: broker.MonitorNodePort, Host: broker.MonitorNodePort, Addresses: []string{local}},
			{Node: issuerNodePort, Host: issuerPort, Addresses: both},
		},
		Needs:  []string{vm.StageNetwork}, // which makes the gateway's address
		Scheme: kinds,
		Dump:   []schema.GroupVersionKind{fleet.GroupVersion.WithKind("Device"), fleet.GroupVersion.WithKind("Deployment")},
	})
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", VM, err)
	}
	return m, nil
}

// virtual is the vm profile's stages. Stages stand after those they need.
func virtual(options Options) ([]stage.Stage, error) {
	m, err := newMachines(options)
	if err != nil {
		return nil, err
	}
	var ids []protocol.DeviceID
	for _, id := range m.devices.IDs() {
		ids = append(ids, protocol.DeviceID(id))
	}
	inCluster := []string{cluster.Stage, image.ProgramsStage}
	images := image.Programs{
		Names:  []string{binary.NATSServer, issuerProgram, calloutProgram, operatorProgram, ownProgram},
		Binary: binary.Path,
		Load:   loadImages,
		Held:   heldImages,
		Needs:  []string{cluster.Stage},
	}
	logs := podlog.Follower{
		Binary: binary.Path(podlog.Program), Kubeconfig: kubeconfig, Namespace: chart.FleetNamespace,
		Needs: []string{cluster.Stage},
	}
	server := broker.Chart{
		Folder: m.chart("nats"), Kubeconfig: kubeconfig, Image: image.Program(binary.NATSServer), Owner: image.Program(ownProgram),
		Needs: inCluster, Encrypt: true,
	}
	issuer, err := m.issuer(inCluster)
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", VM, err)
	}
	callout := product.CalloutChart{
		Chart: product.Chart{
			Folder: m.chart("fleet-callout"), Kubeconfig: kubeconfig, Image: image.Program(calloutProgram),
			Secret: broker.SeedsSecret, HostAliases: map[string]string{issuerHost: issuerClusterIP},
			Values: map[string]any{"networkPolicy": map[string]any{"issuer": map[string]any{"ports": []any{issuerPort}}}},
			Needs:  []string{cluster.Stage, image.ProgramsStage, podlog.Stage, broker.BucketsStage, identity.IdentityStage},
		},
		Config: calloutInside,
	}
	operator := product.OperatorChart{
		Chart: product.Chart{
			Folder: m.chart("fleet-operator"), Kubeconfig: kubeconfig, Image: image.Program(operatorProgram),
			Secret: broker.SeedsSecret,
			Values: map[string]any{"data": map[string]any{"namespaces": []any{deployments}}},
			Needs:  []string{cluster.CRDsStage, image.ProgramsStage, podlog.Stage, broker.BucketsStage},
		},
		BrokerURL: brokerInside,
	}
	return []stage.Stage{
		m.programs.Stage(),
		m.kubernetes().Assets(),
		m.devices.BaseImage(),
		m.devices.Network(),
		m.cluster.NodeImage(),
		m.cluster.Stage(),
		cluster.CRDs(os.DirFS(filepath.Join(m.checkout, "operator", "config", "crd"))),
		m.programs.Using(images.Stage(), images.Names...),
		m.programs.Using(logs.Stage(), podlog.Program),
		server.Stage(),
		broker.Buckets(),
		issuer.Stage(),
		identity.Stage(users(ids)),
		callout.Stage(),
		operator.Stage(),
		m.onDevices.Using(image.New(m.onDevices.Path(sampleProgram)), sampleProgram),
		m.devices.Devices(),
		m.onDevices.Using(m.devices.Agents(), agentProgram),
	}, nil
}
