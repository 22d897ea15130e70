package isolation

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/fixtures/identity"
	fleet "github.com/seatrial/seatrial/operator/api/v1alpha1"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
	"github.com/seatrial/seatrial/suites/profile"
	"github.com/seatrial/seatrial/suites/trial"
	"github.com/seatrial/seatrial/suites/wire"
)

// Specs is how many specs the suite has: one for each kind of attack, and one that
// looks at the fleet afterwards.
var Specs = len(matrix.Kinds()) + 1

// patience bounds every wait for what must happen in a row.
const patience = 30 * time.Second

// pace keeps refused connections just below the number a second that the callout
// answers by default.
const pace = 110 * time.Millisecond

// Input is what the specs work with.
type Input struct {
	trial.Trial
}

// Scene is a stack that is attacked, with what must be left of it.
type Scene struct {
	Input
	target     *matrix.Target
	rows       []matrix.Row
	deployment *fleet.Deployment
	tally      *matrix.Tally
	victim     device.Device
	// containers are the victim's by id, each with when it was started; agent is its
	// agent's process.
	containers map[string]string
	agent      int
}

// Set has a container run on every device, and readies the attack on one of them by
// another. It is called once, before the specs.
func Set(ctx context.Context, in Input) *Scene {
	GinkgoHelper()
	ctx = in.Stack.Context(ctx)
	one, other := in.Apart()
	s := &Scene{Input: in, tally: new(matrix.Tally), victim: other}
	s.deployment = in.Deploy(ctx, "isolation", trial.Everyone(), in.Container("isolation"))
	in.Settled(ctx, s.deployment)
	var err error
	s.target, err = target(ctx, in.Stack, trial.ID(one), trial.ID(other))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		s.target.Operator.Close()
		s.target.System.Close()
	})
	in.settings(ctx, s.target.Operator)
	s.rows, err = matrix.Rows(ctx, s.target)
	Expect(err).NotTo(HaveOccurred())
	s.containers, s.agent = s.look(ctx)
	Expect(s.containers).NotTo(BeEmpty())
	return s
}

// settings waits until the operator has published the fleet's settings, which it
// does some seconds after it knows all devices: what is written during an attack
// counts as what it has done.
func (in Input) settings(ctx context.Context, operator *nats.Conn) {
	GinkgoHelper()
	js, err := jetstream.New(operator)
	Expect(err).NotTo(HaveOccurred())
	bucket, err := js.Stream(ctx, protocol.BucketSettings.Stream())
	Expect(err).NotTo(HaveOccurred())
	in.Eventually(ctx, trial.IntervalDelivered, func() error {
		_, err := bucket.GetLastMsgForSubject(ctx, protocol.BucketSettings.Subject(protocol.SettingsKey))
		return err
	}).Should(Succeed())
}

// Attack runs all rows of the kind.
func (s *Scene) Attack(ctx context.Context, kind matrix.Kind) {
	GinkgoHelper()
	ctx = s.Stack.Context(ctx)
	var rows []matrix.Row
	for _, row := range s.rows {
		if row.Kind == kind {
			rows = append(rows, row)
		}
	}
	Expect(rows).NotTo(BeEmpty(), "there are no %s", kind)
	here := new(matrix.Tally)
	Expect(matrix.Run(ctx, s.target, rows, func(r matrix.Result) bool {
		here.Add(r)
		s.tally.Add(r)
		return true
	})).To(Succeed())
	AddReportEntry(string(kind), here.Summary())
	var through []string
	for _, r := range here.Through {
		through = append(through, fmt.Sprintf("%s (%s): %v", r.Row, r.Row.Want, r.Err))
	}
	Expect(through).To(BeEmpty())
	Expect(here.Ran()).To(BeNumerically(">", 0), "no row of the %s can run here: %s", kind, here.Summary())
}

// Unharmed looks at the fleet after the attacks: the victim runs what it ran, in the
// same containers under the same agent, and every device answers.
func (s *Scene) Unharmed(ctx context.Context) {
	GinkgoHelper()
	ctx = s.Stack.Context(ctx)
	admin := s.Admin(ctx)
	for _, d := range s.Stack.Devices {
		s.Command(ctx, admin, d, protocol.VerbPing)
	}
	reply := s.Command(ctx, admin, s.victim, protocol.VerbReconcile)
	Expect(reply.Changed).To(BeEmpty())
	containers, agent := s.look(ctx)
	Expect(containers).To(Equal(s.containers))
	Expect(agent).To(Equal(s.agent))
	s.Settled(ctx, s.deployment)
	AddReportEntry("attacks", s.tally.Summary())
	GinkgoWriter.Printf("\n%s", s.tally)
}

// look returns what runs on the victim.
func (s *Scene) look(ctx context.Context) (map[string]string, int) {
	GinkgoHelper()
	containers := map[string]string{}
	found, err := s.victim.Containers(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, c := range found {
		live, err := s.victim.Inspect(ctx, c.ID)
		Expect(err).NotTo(HaveOccurred())
		containers[c.ID] = fmt.Sprintf("%s %s since %s", live.Name, live.State.Status, live.State.StartedAt)
	}
	agent, err := s.victim.AgentPID(ctx)
	Expect(err).NotTo(HaveOccurred())
	return containers, agent
}

// target is the stack as the matrix attacks it.
func target(ctx context.Context, stack *profile.Stack, attacker, victim protocol.DeviceID) (*matrix.Target, error) {
	operator, err := stack.Broker.Connect(ctx, broker.Operator)
	if err != nil {
		return nil, err
	}
	system, err := stack.Broker.Connect(ctx, broker.System)
	if err != nil {
		operator.Close()
		return nil, err
	}
	signer, err := standInSigner(stack)
	if err != nil {
		operator.Close()
		system.Close()
		return nil, err
	}
	known := stack.Identity
	t := &matrix.Target{
		URL: stack.Broker.URL(), Monitor: stack.Broker.MonitorURL(), Issuer: known.Issuer, Project: known.ProjectID,
		Attacker: attacker, Victim: victim, Admin: known.Admin, Observer: known.Observer, Service: known.Service, Lives: true,
		Token: func(ctx context.Context, user string) (string, error) {
			token, err := known.Token(ctx, known.UserKeyFile(user))
			if err != nil {
				return "", err
			}
			return token.AccessToken, nil
		},
		Signer: signer, Operator: operator, System: system,
		Admissions: func(ctx context.Context) ([]wire.Admission, error) { return stack.Admissions(ctx) },
		Restart:    stack.Callout.Restart,
		Pace:       pace, Patience: patience,
	}
	for _, role := range []broker.Role{broker.Callout, broker.Operator, broker.System} {
		t.Static = append(t.Static, stack.Broker.PublicKey(role))
	}
	return t, nil
}

// standInSigner is the key that the stand-in signs with, which lies in its state on
// this machine. Any other issuer keeps its key, and rows that need it do not run.
func standInSigner(stack *profile.Stack) (*matrix.Signer, error) {
	raw, err := os.ReadFile(stack.Environment.Dir(identity.IssuerStage, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("read the stand-in's key: %w", err)
	}
	var state struct {
		SigningKeys []struct {
			// State is 1 for the key that signs.
			State int
			JWK   jose.JSONWebKey
		}
	}
	if err := json.Unmarshal(raw, &state); err != nil {
		return nil, fmt.Errorf("read the stand-in's key: %w", err)
	}
	for _, k := range state.SigningKeys {
		if key, ok := k.JWK.Key.(*rsa.PrivateKey); ok && k.State == 1 {
			return &matrix.Signer{KeyID: k.JWK.KeyID, Key: key}, nil
		}
	}
	return nil, errors.New("the stand-in signs with no RSA key")
}
