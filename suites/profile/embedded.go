package profile

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/seatrial/seatrial/fixtures/binary"
	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/fixtures/image"
	"github.com/seatrial/seatrial/fixtures/product"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/framework/stage"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
)

// Programs that the checkout's commands are built to.
const (
	sampleProgram   = "sample"
	issuerProgram   = "seatrial-issuer"
	sandboxProgram  = "seatrial-sandbox"
	agentProgram    = "fleet-agent"
	calloutProgram  = "fleet-callout"
	operatorProgram = "fleet-operator"
)

// heartbeat is how often agents of a rehearsal say that they are alive: more
// often than in the field, so that nobody waits for it.
const heartbeat = "1s"

// Intervals are the defaults of the intervals that the stages wait for.
func Intervals() []interval.Defaults {
	return append([]interval.Defaults{
		binary.Intervals(), broker.Intervals(), cluster.Intervals(), device.Intervals(), identity.Intervals(),
		product.Intervals(),
	}, vmIntervals()...)
}

// embedded is everything as a process of this machine. Stages stand after those
// they need.
func embedded(options Options) ([]stage.Stage, error) {
	kinds, err := newScheme()
	if err != nil {
		return nil, err
	}
	devices, err := device.NewLocals(
		device.Settings{Count: options.Devices, Intervals: device.AgentIntervals{Heartbeat: heartbeat}},
		device.Parts{
			Sandbox:  binary.Path(sandboxProgram),
			Agent:    binary.Path(agentProgram),
			Identity: agentIdentity,
			Broker:   brokerURL,
		})
	if err != nil {
		return nil, fmt.Errorf("profile %s: %w", Embedded, err)
	}
	var ids []protocol.DeviceID
	for _, id := range devices.IDs() {
		ids = append(ids, protocol.DeviceID(id))
	}
	programs := binary.New(options.Checkout)
	kubernetes := cluster.Processes{
		Source: cluster.Source{Checkout: options.Checkout},
		Scheme: kinds,
		Dump:   []schema.GroupVersionKind{fleet.GroupVersion.WithKind("Device"), fleet.GroupVersion.WithKind("Deployment")},
	}
	definitions := os.DirFS(filepath.Join(options.Checkout, "operator", "config", "crd"))
	server := broker.Server{Binary: binary.Path(binary.NATSServer), Encrypt: true}
	issuer := identity.StandIn{Binary: binary.Path(issuerProgram)}
	callout := product.Callout{
		Binary: binary.Path(calloutProgram),
		Config: calloutConfig,
		Needs:  []string{broker.BucketsStage, identity.IdentityStage},
	}
	operator := product.Operator{
		Binary: binary.Path(operatorProgram),
		Config: operatorConfig(filepath.Join(options.Checkout, "operator", "config", "rbac", "role.yaml")),
		Needs:  []string{cluster.CRDsStage, broker.BucketsStage, identity.IdentityStage},
	}
	return []stage.Stage{
		programs.Stage(),
		kubernetes.Assets(),
		kubernetes.Stage(),
		cluster.CRDs(definitions),
		programs.Using(server.Stage(), binary.NATSServer),
		broker.Buckets(),
		programs.Using(issuer.Stage(), issuerProgram),
		identity.Stage(users(ids)),
		programs.Using(callout.Stage(), calloutProgram),
		programs.Using(operator.Stage(), operatorProgram),
		programs.Using(image.New(binary.Path(sampleProgram)), sampleProgram),
		programs.Using(devices.Devices(), sandboxProgram),
		programs.Using(devices.Agents(), agentProgram),
	}, nil
}

// users are everybody whom the contract knows: what only some fleets have must
// hold on every stack that is attacked.
func users(devices []protocol.DeviceID) identity.Config {
	return identity.Config{
		Observer: identity.DefaultObserver, Service: identity.DefaultService, Devices: devices,
		AccessTokenLifetime: identity.DefaultAccessTokenLifetime,
	}
}

// newScheme is Kubernetes' own kinds and the fleet's.
func newScheme() (*runtime.Scheme, error) {
	kinds := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, fleet.AddToScheme} {
		if err := add(kinds); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	return kinds, nil
}

// agentIdentity is what a device's agent gets tokens with.
func agentIdentity(ctx context.Context, id string) (device.Identity, error) {
	known, err := identity.From(ctx)
	if err != nil {
		return device.Identity{}, err
	}
	return device.Identity{
		Issuer:  known.Issuer,
		Project: known.ProjectID,
		KeyFile: known.KeyFile(protocol.DeviceID(id)),
	}, nil
}

// calloutConfig is what the callout is connected with.
func calloutConfig(ctx context.Context) (product.CalloutConfig, error) {
	b, err := broker.From(ctx)
	if err != nil {
		return product.CalloutConfig{}, err
	}
	known, err := identity.From(ctx)
	if err != nil {
		return product.CalloutConfig{}, err
	}
	return product.CalloutConfig{
		Issuer:          known.Issuer,
		Project:         known.ProjectID,
		BrokerURL:       b.URL(),
		SeedFile:        b.SeedFile(broker.Callout),
		AccountSeedFile: b.SeedFile(broker.Issuer),
		CurveSeedFile:   b.CurveSeedFile(),
		Rules:           product.CalloutRules(),
	}, nil
}

// deployments is the namespace in which specs make theirs, and what those refer to.
const deployments = "default"

// operatorConfig is what the operator is connected with: in the cluster it may do
// what the role says that it is delivered with, and nothing else.
func operatorConfig(role string) func(context.Context) (product.OperatorConfig, error) {
	return func(ctx context.Context) (product.OperatorConfig, error) {
		b, err := broker.From(ctx)
		if err != nil {
			return product.OperatorConfig{}, err
		}
		c, err := cluster.From(ctx)
		if err != nil {
			return product.OperatorConfig{}, err
		}
		text, err := os.ReadFile(role)
		if err != nil {
			return product.OperatorConfig{}, fmt.Errorf("read the operator's role: %w", err)
		}
		kubeconfig, err := c.UserWithRole(ctx, operatorProgram, text)
		if err != nil {
			return product.OperatorConfig{}, err
		}
		if err := c.MayReadData(ctx, operatorProgram, deployments); err != nil {
			return product.OperatorConfig{}, err
		}
		enrol, err := enrolConfig(ctx, c)
		if err != nil {
			return product.OperatorConfig{}, err
		}
		return product.OperatorConfig{Kubeconfig: kubeconfig, BrokerURL: b.URL(), SeedFile: b.SeedFile(broker.Operator), Enrol: enrol}, nil
	}
}

// EnrolNamespace is the one in which the operator finds enrolment tokens: none that
// deployments refer to.
const EnrolNamespace = "enrolment"

// enrolConfig is what the operator's enrolment service is made of.
func enrolConfig(ctx context.Context, c *cluster.Cluster) (*product.Enrol, error) {
	known, err := identity.From(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.MayEnrol(ctx, operatorProgram, EnrolNamespace); err != nil {
		return nil, err
	}
	serving, err := c.Serving(ctx, operatorProgram)
	if err != nil {
		return nil, err
	}
	return &product.Enrol{
		CertFile: serving.CertFile, KeyFile: serving.KeyFile, Namespace: EnrolNamespace,
		Issuer: known.Issuer, Project: known.ProjectID, PATFile: known.PATFile,
	}, nil
}

func brokerURL(ctx context.Context) (string, error) {
	b, err := broker.From(ctx)
	if err != nil {
		return "", err
	}
	return b.URL(), nil
}
