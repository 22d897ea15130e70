package profile

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/cluster"
	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/identity"
	"github.com/seatrial/seatrial/fixtures/image"
	"github.com/seatrial/seatrial/fixtures/product"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
	"github.com/seatrial/seatrial/framework/interval"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/wire"
)

// Stack is what specs see of what is up, whatever profile made it.
type Stack struct {
	// Profile is the name of the profile.
	Profile string
	// Environment holds the stack's state.
	Environment *environment.Environment
	// Intervals are the times that are waited.
	Intervals *interval.Set
	// Client reads and writes the cluster's resources, the fleet's among them.
	Client client.Client
	// Cluster, Identity and Broker are the parts.
	Cluster  *cluster.Cluster
	Identity *identity.Identity
	Broker   *broker.Broker
	// Issuer is who issues tokens.
	Issuer *identity.Provider
	// Node is the cluster's only node; nil if the cluster has none.
	Node Node
	// Callout and Operator are the products beside the devices.
	Callout, Operator *product.Product
	// Devices are the devices in the order of their numbers.
	Devices []device.Device
	// Enrolment is where devices become ones of the fleet by a token, and Newcomers
	// brings up some that may; nil where the profile has no such thing.
	Enrolment *Enrolment
	Newcomers *device.Newcomers
	// Image is the reference of the sample image, which every device holds.
	Image string

	artifacts *artifact.Registry
}

// Enrolment is the operator's enrolment service, as devices reach it.
type Enrolment struct {
	// URL is its origin, CAFile holds the authority that its certificate is of.
	URL, CAFile string
	// Namespace is that of the Secrets with tokens.
	Namespace string
}

// Node is a node of a cluster, with everything that runs there.
type Node interface {
	// Kill ends it at once, as a power cut would.
	Kill(ctx context.Context) error
	// Start has it run again, if it does not.
	Start(ctx context.Context) error
}

// Context returns ctx with what fixtures look for in it.
func (s *Stack) Context(ctx context.Context) context.Context {
	ctx = environment.NewContext(ctx, s.Environment)
	ctx = interval.NewContext(ctx, s.Intervals)
	return artifact.NewContext(ctx, s.artifacts)
}

// Token gets a fresh access token with the device's key file.
func (s *Stack) Token(ctx context.Context, id protocol.DeviceID) (string, error) {
	token, err := s.Identity.Token(ctx, s.Identity.KeyFile(id))
	if err != nil {
		return "", fmt.Errorf("token of device %s: %w", id, err)
	}
	return token.AccessToken, nil
}

// Dial connects to the broker as whoever bears the token.
func (s *Stack) Dial(ctx context.Context, who wire.Bearer) (*wire.Client, error) {
	return wire.Dial(ctx, s.Broker.URL(), who)
}

// As connects to the broker as a device, with a fresh token.
func (s *Stack) As(ctx context.Context, id protocol.DeviceID) (*wire.Client, error) {
	token, err := s.Token(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.Dial(ctx, wire.Device(id, token))
}

// Admin connects to the broker as the fleet's admin, with a fresh token.
func (s *Stack) Admin(ctx context.Context) (*wire.Client, error) {
	token, err := s.Identity.Token(ctx, s.Identity.AdminKeyFile())
	if err != nil {
		return nil, fmt.Errorf("token of the admin: %w", err)
	}
	return s.Dial(ctx, wire.Admin(s.Identity.Admin, token.AccessToken))
}

// Admissions are the callout's decisions so far, as it wrote them down; with more
// than one replica, those of all. A pod's may come a moment after the decision.
func (s *Stack) Admissions(ctx context.Context) ([]wire.Admission, error) {
	log, err := s.Callout.Logs(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the callout's log: %w", err)
	}
	defer log.Close()
	return wire.Admissions(log)
}

// Describe writes where everything is, for people.
func (s *Stack) Describe(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "kubernetes\t%s\n", s.Cluster.Kubeconfig)
	fmt.Fprintf(table, "issuer\t%s\n", s.Identity.Issuer)
	fmt.Fprintf(table, "broker\t%s\tmonitor %s\n", s.Broker.URL(), s.Broker.MonitorURL())
	for _, d := range s.Devices {
		fmt.Fprintf(table, "%s\t%v\n", d.ID(), d.Labels())
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("describe the stack: %w", err)
	}
	return nil
}

// From returns the stack whose handles ctx carries. A part that is missing is an
// error that says which.
func From(ctx context.Context) (*Stack, error) {
	s := &Stack{Intervals: interval.From(ctx), artifacts: artifact.From(ctx)}
	var err error
	if s.Environment, err = environment.From(ctx); err != nil {
		return nil, err
	}
	if s.Cluster, err = cluster.From(ctx); err != nil {
		return nil, err
	}
	if s.Identity, err = identity.From(ctx); err != nil {
		return nil, err
	}
	if s.Issuer, err = identity.ProviderFrom(ctx); err != nil {
		return nil, err
	}
	if s.Broker, err = broker.From(ctx); err != nil {
		return nil, err
	}
	if s.Callout, err = product.CalloutFrom(ctx); err != nil {
		return nil, err
	}
	if s.Operator, err = product.OperatorFrom(ctx); err != nil {
		return nil, err
	}
	devices, err := device.From(ctx)
	if err != nil {
		return nil, err
	}
	s.Devices, s.Newcomers = devices.Devices, devices.Newcomers
	if url := s.Operator.EnrolURL(); url != "" {
		serving, err := s.Cluster.Serving(ctx, operatorProgram)
		if err != nil {
			return nil, err
		}
		s.Enrolment = &Enrolment{URL: url, CAFile: serving.CAFile, Namespace: EnrolNamespace}
	}
	sample, err := image.From(ctx)
	if err != nil {
		return nil, err
	}
	s.Node = nodeOf(ctx)
	s.Image, s.Client = sample.Reference, s.Cluster.Client
	return s, nil
}
