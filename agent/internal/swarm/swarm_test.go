package swarm

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/internal/brokertest"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 3 * time.Minute

// fleet is a swarm with the broker and the issuer that it knows.
type fleet struct {
	*testing.T
	issuer *issuertest.Issuer
	broker *brokertest.Broker
	config *Config
	events chan Event
}

// newFleet starts broker and issuer, and devices that end with the test.
func newFleet(t *testing.T, client Client, devices ...protocol.DeviceID) *fleet {
	t.Helper()
	f := &fleet{T: t, issuer: issuertest.New(t), events: make(chan Event, 10_000)}
	f.broker = brokertest.Start(t, f.issuer)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range devices {
		f.issuer.RegisterAs(string(id), string(id), &key.PublicKey)
	}
	file := filepath.Join(t.TempDir(), "config.json")
	text, err := json.Marshal(Config{
		Client: client, Broker: f.broker.URL, Issuer: f.issuer.URL, Project: issuertest.Project, Devices: devices, SpreadMillis: 200,
		PrivateKey: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err == nil {
		f.config, err = Load(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// run runs the devices until the returned function is called.
func (f *fleet) run() (stop func()) {
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	ended, read := make(chan error, 1), make(chan struct{})
	go func() {
		ended <- Run(ctx, f.config, in)
		in.Close()
	}()
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				f.Errorf("%s: %v", lines.Bytes(), err)
			}
			f.events <- e
		}
	}()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			f.Error(err)
		}
		<-read
	}
}

// up waits until all devices have connected after a moment, and returns what was
// counted by then.
func (f *fleet) up(after time.Time) (last Counts) {
	f.Helper()
	seen := make(map[protocol.DeviceID]bool)
	for end := time.After(deadline); len(seen) < len(f.config.Devices); {
		select {
		case e := <-f.events:
			if e.Up != "" && time.Unix(0, e.At).After(after) {
				seen[e.Up] = true
			}
			last = e.Counts
		case <-end:
			f.Fatalf("%d of %d devices are up", len(seen), len(f.config.Devices))
		}
	}
	return last
}

func ids(n int) (all []protocol.DeviceID) {
	for i := range n {
		all = append(all, protocol.DeviceID([]byte{'d', byte('a' + i/26), byte('a' + i%26)}))
	}
	return all
}

// The agent's connections come back to a broker that was killed, while the issuer
// fails at first.
func TestAgentsComeBack(t *testing.T) {
	f := newFleet(t, ClientAgent, ids(20)...)
	stop := f.run()
	defer stop()
	f.up(time.Time{})
	if n := len(f.issuer.Minted()); n != 20 {
		t.Errorf("%d tokens were made for 20 devices", n)
	}
	var failed int
	f.issuer.Fail(func(w http.ResponseWriter) bool {
		if failed++; failed <= 20 {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	killed := time.Now()
	f.broker.Kill()
	f.broker.Start()
	if did := f.up(killed); did.Mints < 40 || did.MintFailures < 20 {
		t.Errorf("with the last device that came back %+v are told", did)
	}
	if n := len(f.issuer.Minted()); n < 40 {
		t.Errorf("%d tokens were made for two connections of 20 devices", n)
	}
}

func TestDefaultsConnect(t *testing.T) {
	f := newFleet(t, ClientDefaults, ids(2)...)
	stop := f.run()
	defer stop()
	f.up(time.Time{})
}

// A device that cannot read its desired state at first, as the broker has come up
// with its streams not there yet, reads it again, as an agent does.
func TestReadThatFailedIsMadeAgain(t *testing.T) {
	for _, client := range []Client{ClientAgent, ClientDefaults} {
		t.Run(string(client), func(t *testing.T) {
			f := newFleet(t, client, "da")
			js, err := jetstream.New(f.broker.Operator())
			if err == nil {
				err = js.DeleteStream(t.Context(), protocol.BucketDesired.Stream())
			}
			if err != nil {
				t.Fatal(err)
			}
			admin := f.broker.Admin("alice")
			beats, err := admin.SubscribeSync(protocol.AllHeartbeats)
			if err == nil {
				err = admin.FlushTimeout(deadline)
			}
			if err != nil {
				t.Fatal(err)
			}
			stop := f.run()
			defer stop()
			if _, err := beats.NextMsg(deadline); err != nil {
				t.Fatal(err)
			}
			f.broker.MakeBuckets()
			f.up(time.Time{})
		})
	}
}

func TestConfigurationIsChecked(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":       "{",
		"unknown client": `{"client":"x","broker":"b","devices":["d"],"spreadMillis":1}`,
		"no devices":     `{"client":"agent","broker":"b","spreadMillis":1}`,
		"no spread":      `{"client":"agent","broker":"b","devices":["d"]}`,
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(file); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, ErrConfig) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
