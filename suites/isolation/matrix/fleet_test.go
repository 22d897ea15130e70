package matrix_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/fixtures/broker"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
	"github.com/seatrial/seatrial/suites/wire"
)

// patience bounds every wait; none expects to reach it.
const patience = 60 * time.Second

const (
	attacker protocol.DeviceID = "device-a"
	victim   protocol.DeviceID = "device-b"
	admin                      = "fleet-admin"
	observer                   = "watcher"
	service                    = "recorder"
)

// settings say in what a fleet differs from a real one.
type settings struct {
	// config changes the broker's configuration, stream that of a bucket.
	config func(map[string]any)
	stream func(*jetstream.StreamConfig)
	// open gives the broker listeners for leaf nodes, websockets and MQTT.
	open bool
	// lies puts a liar between the broker and the callout.
	lies bool
}

// fleet is a broker, as a fleet's is configured, with an issuer and the real
// callout.
type fleet struct {
	target *matrix.Target
	liar   *liar
	issuer *issuer
	dir    string
	url    string
	// logs are those of all callouts that ran, end ends the one that runs.
	logs []*output
	end  func()
}

// admissions are the decisions of all callouts so far.
func (f *fleet) admissions(ctx context.Context) (all []wire.Admission, err error) {
	for _, log := range f.logs {
		decided, err := log.admissions(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, decided...)
	}
	return all, nil
}

// newFleet starts one; it ends with the test.
func newFleet(t *testing.T, with settings) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{issuer: newIssuer(t), dir: dir}
	place := broker.Place{Client: port.ForTest(t).Address(), Monitor: port.ForTest(t).Address(), Store: filepath.Join(dir, "jetstream")}
	f.url = "nats://" + place.Client
	keys := filepath.Join(dir, "keys")
	text, err := broker.Configuration(place, keys, !with.lies)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	// A busy machine may take longer to connect than the two seconds of the field.
	config["authorization"].(map[string]any)["timeout"] = patience.Seconds()
	var open *matrix.Open
	if with.open {
		open = &matrix.Open{Leaf: port.ForTest(t).Address(), Websocket: port.ForTest(t).Address(), MQTT: port.ForTest(t).Address()}
		config["leafnodes"] = map[string]any{"listen": open.Leaf}
		config["websocket"] = map[string]any{"listen": open.Websocket, "no_tls": true}
		config["mqtt"] = map[string]any{"listen": open.MQTT}
	}
	if with.config != nil {
		with.config(config)
	}
	startBroker(t, config, filepath.Join(dir, "server.conf"))
	calls := f.url
	if with.lies {
		f.liar = newLiar(t, f.url, broker.KeyFile(keys, broker.Callout), broker.KeyFile(keys, broker.Issuer))
		calls = f.liar.relay
	}
	operator, system := f.connect(t, keys, broker.Operator), f.connect(t, keys, broker.System)
	f.fill(t, operator, with.stream)
	f.startCallout(t, calls, keys, !with.lies)
	f.target = &matrix.Target{
		URL: f.url, Monitor: "http://" + place.Monitor, Issuer: f.issuer.url, Project: project,
		Attacker: attacker, Victim: victim, Admin: admin, Observer: observer, Service: service,
		Token: f.issuer.token, Signer: f.issuer.signer, Operator: operator, System: system, Static: static(t, keys),
		Admissions: f.admissions, Open: open, Patience: patience,
		Restart: func(context.Context) error {
			before := f.end
			f.startCallout(t, calls, keys, !with.lies)
			before()
			return nil
		},
	}
	return f
}

// startBroker runs a server in this process.
func startBroker(t *testing.T, config map[string]any, file string) {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	// The server's parser knows no escaped > of a subject.
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), `\u003e`, ">")), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the broker does not start")
	}
}

// connect connects a static user.
func (f *fleet) connect(t *testing.T, keys string, role broker.Role) *nats.Conn {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(broker.KeyFile(keys, role))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(f.url, key, nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// static are the public keys of the broker's own users.
func static(t *testing.T, keys string) (all []string) {
	t.Helper()
	for _, role := range []broker.Role{broker.Callout, broker.Operator, broker.System} {
		public, err := readKey(t, broker.KeyFile(keys, role)).PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, public)
	}
	return all
}

func readKey(t *testing.T, file string) nkeys.KeyPair {
	t.Helper()
	seed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// fill makes the buckets, with a document of each device in each.
func (f *fleet) fill(t *testing.T, operator *nats.Conn, change func(*jetstream.StreamConfig)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := broker.EnsureBuckets(ctx, operator); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	for _, bucket := range protocol.Buckets() {
		if change != nil {
			made, err := js.Stream(ctx, bucket.Stream())
			if err != nil {
				t.Fatal(err)
			}
			config := made.CachedInfo().Config
			change(&config)
			if err := js.DeleteStream(ctx, bucket.Stream()); err != nil {
				t.Fatal(err)
			}
			if _, err := js.CreateStream(ctx, config); err != nil {
				t.Fatal(err)
			}
		}
		if bucket == protocol.BucketDenied {
			continue // who has a document there may not connect
		}
		for _, id := range []protocol.DeviceID{attacker, victim} {
			if _, err := js.Publish(ctx, bucket.Subject(id), fmt.Appendf(nil, "%s of %s", bucket, id)); err != nil {
				t.Fatal(err)
			}
		}
		if bucket == protocol.BucketSettings {
			if _, err := js.Publish(ctx, bucket.Subject(protocol.SettingsKey), []byte("settings of the fleet")); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// startCallout runs the real callout, as a process, and waits until it is ready.
func (f *fleet) startCallout(t *testing.T, url, keys string, encrypted bool) {
	t.Helper()
	address := port.ForTest(t).Address()
	curve := ""
	if encrypted {
		curve = fmt.Sprintf("xkey_seed_file = %q", broker.KeyFile(keys, broker.Curve))
	}
	rules := filepath.Join(f.dir, "rules.toml")
	var text strings.Builder
	for _, template := range protocol.Templates() {
		fmt.Fprintf(&text, "[[rule]]\nname = %q\nrole = %q\ntemplate = %q\naccount = %q\nid = \"sub\"\n", template, template.Role(), template, template.Account())
	}
	if err := os.WriteFile(rules, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.dir, "callout.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
issuer = %q
project = %q
rules_file = %q
[nats]
url = %q
seed_file = %q
[keys]
account_seed_file = %q
%s
[http]
address = %q
[limits]
source_failures = 1048576
device_admissions = 1048576
`, f.issuer.url, project, rules, url, broker.KeyFile(keys, broker.Callout), broker.KeyFile(keys, broker.Issuer), curve, address), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(output)
	program := calloutProgram(t)
	f.logs, f.end = append(f.logs, log), run(t, log, program, "--config", file)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		response, err := client.Get("http://" + address + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the callout does not become ready: %v\n%s", err, log)
		}
	}
}

// calloutProgram builds the callout once for all tests of this process.
func calloutProgram(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// built is where what is built lies, set and removed by TestMain.
var built string

var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "fleet-callout")
	cmd := exec.Command("go", "build", "-o", path, "github.com/seatrial/seatrial/cmd/fleet-callout")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the callout: %w\n%s", err, out)
	}
	return path, nil
})

// account is an account of a broker's configuration.
func account(config map[string]any, name string) map[string]any {
	return config["accounts"].(map[string]any)[name].(map[string]any)
}

// of returns the rows of these kinds.
func of(rows []matrix.Row, kinds ...matrix.Kind) []matrix.Row {
	return slices.DeleteFunc(slices.Clone(rows), func(r matrix.Row) bool { return !slices.Contains(kinds, r.Kind) })
}

// try runs rows against a target, until each says that it is enough.
func try(t *testing.T, target *matrix.Target, rows []matrix.Row, each func(matrix.Result) bool) *matrix.Tally {
	t.Helper()
	tally := new(matrix.Tally)
	err := matrix.Run(t.Context(), target, rows, func(r matrix.Result) bool {
		tally.Add(r)
		return each(r)
	})
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

// rowsOf are all rows against a target.
func rowsOf(t *testing.T, target *matrix.Target) []matrix.Row {
	t.Helper()
	rows, err := matrix.Rows(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// missing lists what rows did not run for.
func missing(tally *matrix.Tally) []matrix.Need { return slices.Sorted(maps.Keys(tally.Missing)) }
