package scale

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/fixtures/identity/standin"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

const (
	project = "storm"
	// replicas is how many callouts there are.
	replicas = 2
	// readyWithin bounds the start of anything but devices.
	readyWithin = time.Minute
	// password of the devices that need no callout. It is no secret: the broker
	// listens on the loopback for as long as it is measured.
	devicePassword = "storm"
)

// Binaries are the programs of which everything is made.
type Binaries struct {
	// Server is nats-server, Issuer the stand-in for Zitadel (seatrial-issuer).
	Server, Issuer string
	// Callout is fleet-callout, Library the callout on callout.go (callout/library).
	Callout, Library string
	// Swarm runs the devices (agent/swarm).
	Swarm string
}

// stand is a broker, callouts, an issuer and devices, that run.
type stand struct {
	dir      string
	binaries Binaries
	signing  string
	system   System
	devices  int
	spread   time.Duration
	keys     *keys
	kept     []*port.Kept
	address  string
	http     []string

	// issuerAddress is where the issuer listens whenever it runs.
	issuerAddress  string
	broker, issuer *process
	callouts       [replicas]*process
	swarms         *swarms
	// gone is what the issuer and callouts had used, and callouts decided, when they
	// were killed.
	gone usage
}

// newStand brings everything up, and returns when all devices are there.
func newStand(ctx context.Context, dir string, o Options, system System, devices int, spread time.Duration) (s *stand, err error) {
	s = &stand{dir: dir, binaries: o.Binaries, signing: o.Signing, system: system, devices: devices, spread: spread, gone: usage{decisions: make(map[string]int64)}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	ids := make([]protocol.DeviceID, devices)
	for i := range ids {
		ids[i] = protocol.DeviceID(fmt.Sprintf("device-%05d", i))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, fmt.Errorf("make the folder of %s: %w", system.Name, err)
	}
	starting, cancel := context.WithTimeoutCause(ctx, readyWithin, errors.New("it took too long"))
	defer cancel()
	private, err := s.seedIssuer(ids)
	if err != nil {
		return s, err
	}
	if err := s.startIssuer(starting, 0); err != nil {
		return s, err
	}
	if err := s.configureBroker(ids); err != nil {
		return s, err
	}
	if err := s.startBroker(starting); err != nil {
		return s, err
	}
	if err := s.makeBuckets(starting); err != nil {
		return s, err
	}
	for i := range s.callouts {
		if err := s.startCallout(starting, i); err != nil {
			return s, err
		}
	}
	return s, s.startDevices(ctx, ids, private)
}

// keep returns an address that is kept for this stand.
func (s *stand) keep() (string, error) {
	k, err := port.Keep(0)
	if err != nil {
		return "", err
	}
	s.kept = append(s.kept, k)
	return k.Address(), nil
}

// seedIssuer makes the state of an issuer that knows the devices, and returns the
// PEM of the key of all of them.
func (s *stand) seedIssuer(ids []protocol.DeviceID) (private string, err error) {
	if s.issuerAddress, err = s.keep(); err != nil {
		return "", err
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", fmt.Errorf("make the devices' key: %w", err)
	}
	users := make([]string, len(ids))
	for i, id := range ids {
		users[i] = string(id)
	}
	crowd := standin.Crowd{Project: project, Role: string(protocol.RoleDevice), Users: users, Key: &key.PublicKey, Signing: s.signing}
	if err := standin.Seed(s.issuerConfig(), crowd); err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})), nil
}

func (s *stand) issuerConfig() standin.Config {
	return standin.Config{Origin: s.origin(), StateDir: filepath.Join(s.dir, "issuer"), PATFile: filepath.Join(s.dir, "pat")}
}

// startIssuer starts the issuer, whose answers take a while longer.
func (s *stand) startIssuer(ctx context.Context, delay time.Duration) (err error) {
	c := s.issuerConfig()
	s.issuer, err = start(s.dir, "issuer", nil, s.binaries.Issuer, "--address", s.issuerAddress, "--origin", c.Origin,
		"--state-dir", c.StateDir, "--pat-file", c.PATFile, "--delay", delay.String())
	if err != nil {
		return err
	}
	return s.issuer.ready(ctx, answers(s.origin()+"/debug/ready"))
}

// killIssuer ends the issuer as a crash would: who asks it is refused.
func (s *stand) killIssuer() {
	s.gone.issuer += s.issuer.cpu()
	s.issuer.kill()
	s.issuer = nil
}

// origin is the issuer's.
func (s *stand) origin() string { return "http://" + s.issuerAddress }

// answers is a probe for an address that answers 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

func (s *stand) configureBroker(ids []protocol.DeviceID) (err error) {
	if s.keys, err = newKeys(); err != nil {
		return err
	}
	if s.address, err = s.keep(); err != nil {
		return err
	}
	word := ""
	if s.system.callout == noCallout {
		word = devicePassword
	}
	config, err := brokerConfig(s.address, filepath.Join(s.dir, "store"), s.keys, word, ids)
	if err != nil {
		return fmt.Errorf("configure the broker: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.dir, "server.conf"), config, 0o600),
		writeSeed(filepath.Join(s.dir, "operator.nk"), s.keys.operator),
		writeSeed(filepath.Join(s.dir, "callout.nk"), s.keys.callout),
		writeSeed(filepath.Join(s.dir, "account.nk"), s.keys.account),
	)
}

// startBroker starts the broker, on the same address and store each time, and
// returns when it lets somebody in.
func (s *stand) startBroker(ctx context.Context) (err error) {
	if s.broker, err = start(s.dir, "broker", nil, s.binaries.Server, "-c", filepath.Join(s.dir, "server.conf")); err != nil {
		return err
	}
	return s.broker.ready(ctx, func(context.Context) error {
		nc, err := s.operator()
		if err == nil {
			nc.Close()
		}
		return err
	})
}

func (s *stand) operator() (*nats.Conn, error) {
	credentials, err := nats.NkeyOptionFromSeed(filepath.Join(s.dir, "operator.nk"))
	if err != nil {
		return nil, fmt.Errorf("read the operator's seed: %w", err)
	}
	return nats.Connect("nats://"+s.address, credentials, nats.Timeout(readyWithin))
}

func (s *stand) makeBuckets(ctx context.Context) error {
	nc, err := s.operator()
	if err != nil {
		return fmt.Errorf("connect to the broker: %w", err)
	}
	defer nc.Close()
	return broker.EnsureBuckets(ctx, nc)
}

// startCallout starts the callout with this number, if the system has callouts.
func (s *stand) startCallout(ctx context.Context, number int) error {
	var program string
	var args []string
	name := fmt.Sprintf("callout-%d", number)
	file := filepath.Join(s.dir, name+".toml")
	switch s.system.callout {
	case noCallout:
		return nil
	case ourCallout:
		program, args = s.binaries.Callout, []string{"--config", file}
	case libraryCallout:
		program, args = s.binaries.Library, []string{file}
	}
	for len(s.http) <= number {
		address, err := s.keep()
		if err != nil {
			return err
		}
		s.http = append(s.http, address)
	}
	type table = map[string]any
	text, err := toml.Marshal(table{
		"issuer": s.origin(), "project": project,
		"nats": table{"url": "nats://" + s.address, "seed_file": filepath.Join(s.dir, "callout.nk")},
		"keys": table{"account_seed_file": filepath.Join(s.dir, "account.nk")},
		"http": table{"address": s.http[number]},
	})
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("configure %s: %w", name, err)
	}
	if s.callouts[number], err = start(s.dir, name, nil, program, args...); err != nil {
		return err
	}
	return s.callouts[number].ready(ctx, answers("http://"+s.http[number]+"/readyz"))
}

// killCallout ends a callout as a crash would.
func (s *stand) killCallout(ctx context.Context, number int) error {
	p := s.callouts[number]
	s.gone.callouts += p.cpu()
	if s.system.callout == ourCallout {
		if err := scrape(ctx, s.metrics(number), s.gone.decisions); err != nil {
			return fmt.Errorf("read the counters of %s: %w", p.name, err)
		}
	}
	p.kill()
	s.callouts[number] = nil
	return nil
}

// metrics is where the counters of one of our callouts are read.
func (s *stand) metrics(number int) string { return "http://" + s.http[number] + "/metrics" }

// startDevices starts the devices and waits until all are there.
func (s *stand) startDevices(ctx context.Context, ids []protocol.DeviceID, private string) (err error) {
	s.swarms, err = startSwarms(s.dir, s.binaries.Swarm, swarmConfig{
		Client: s.system.client, Broker: "nats://" + s.address, Issuer: s.origin(), Project: project,
		PrivateKey: private, Password: devicePassword, Devices: ids, SpreadMillis: s.spread.Milliseconds(),
	})
	if err != nil {
		return err
	}
	// The first time each device reads its key besides, and nobody measures it.
	ctx, cancel := context.WithTimeoutCause(ctx, 4*s.spread+2*readyWithin, errors.New("it took too long"))
	defer cancel()
	if err := s.all(ctx, time.Time{}); err != nil {
		return fmt.Errorf("wait for the devices to be there at first: %w", err)
	}
	return nil
}

// lookEvery is how often it is looked whether all devices are there. They say when
// they came, so that nothing is measured by it.
const lookEvery = 100 * time.Millisecond

// all waits until every device has connected since a moment.
func (s *stand) all(ctx context.Context, moment time.Time) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		back := s.swarms.back(moment)
		if back == s.devices {
			return nil
		}
		if err := s.swarms.problem(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d devices are there: %w", back, s.devices, context.Cause(ctx))
		}
	}
}

// close ends everything.
func (s *stand) close() error {
	var err error
	if s.swarms != nil {
		err = s.swarms.stop()
	}
	for _, p := range append(s.callouts[:], s.broker, s.issuer) {
		if p != nil {
			p.stop()
		}
	}
	for _, k := range s.kept {
		err = errors.Join(err, k.Release())
	}
	return err
}
