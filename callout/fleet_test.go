package callout_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = 20 * time.Second

// key is an NKey with its encodings.
type key struct {
	pair         nkeys.KeyPair
	public, seed string
}

func newKey(tb testing.TB, prefix nkeys.PrefixByte) key {
	tb.Helper()
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		tb.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		tb.Fatal(err)
	}
	return key{pair, public, string(seed)}
}

// fleet is a broker with the fleet's accounts, an issuer, and what is needed to
// run callouts for them.
type fleet struct {
	issuer                           *issuertest.Issuer
	broker                           *server.Server
	url, dir                         string
	caller, operator, admin, account key
	curve                            *key
	// leaves is the address for leaf nodes, if there is one.
	leaves string
	// open brokers ask no callout.
	open bool
}

// withoutCallout has the broker ask nobody: only the configuration's users come
// in.
func withoutCallout(_ testing.TB, f *fleet) { f.open = true }

// encrypted has the broker encrypt its requests.
func encrypted(tb testing.TB, f *fleet) {
	curve := newKey(tb, nkeys.PrefixByteCurve)
	f.curve = &curve
}

// withLeaves has the broker accept leaf nodes.
func withLeaves(tb testing.TB, f *fleet) { f.leaves = freeAddress(tb) }

// newFleet starts issuer and broker; both end with the test.
func newFleet(tb testing.TB, options ...func(testing.TB, *fleet)) *fleet {
	tb.Helper()
	f := &fleet{
		issuer:   issuertest.New(tb),
		dir:      tb.TempDir(),
		caller:   newKey(tb, nkeys.PrefixByteUser),
		operator: newKey(tb, nkeys.PrefixByteUser),
		admin:    newKey(tb, nkeys.PrefixByteUser),
		account:  newKey(tb, nkeys.PrefixByteAccount),
	}
	for _, option := range options {
		option(tb, f)
	}
	f.url = "nats://" + freeAddress(tb)
	f.startBroker(tb)
	tb.Cleanup(f.stopBroker)
	return f
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// startBroker starts the broker, again on the same address and store.
func (f *fleet) startBroker(tb testing.TB) {
	tb.Helper()
	file := filepath.Join(f.dir, "server.conf")
	if err := os.WriteFile(file, []byte(f.brokerConfig()), 0o600); err != nil {
		tb.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	f.broker, err = server.NewServer(options)
	if err != nil {
		tb.Fatal(err)
	}
	f.broker.Start()
	if !f.broker.ReadyForConnections(deadline) {
		tb.Fatal("the broker did not start")
	}
}

func (f *fleet) stopBroker() {
	f.broker.Shutdown()
	f.broker.WaitForShutdown()
}

// brokerConfig renders what the contract says into the server's words.
func (f *fleet) brokerConfig() string {
	exports, imports := map[string][]string{}, map[string][]string{}
	for _, s := range protocol.Shares() {
		exports[s.From] = append(exports[s.From], fmt.Sprintf("{ %s: %q, accounts: [%s] }", s.Kind, s.Subject, s.To))
		imports[s.To] = append(imports[s.To], fmt.Sprintf("{ %s: { account: %s, subject: %q } }", s.Kind, s.From, s.Subject))
	}
	account := func(name, extra string) string {
		return fmt.Sprintf("%s: { %s\n exports: [ %s ]\n imports: [ %s ] }", name, extra,
			strings.Join(exports[name], "\n"), strings.Join(imports[name], "\n"))
	}
	user := func(k key) string { return fmt.Sprintf("users: [ { nkey: %s } ]", k.public) }
	xkey := ""
	if f.curve != nil {
		xkey = "xkey: " + f.curve.public
	}
	leaves := ""
	if f.leaves != "" {
		leaves = fmt.Sprintf("leafnodes { listen: %q }", f.leaves)
	}
	asks := fmt.Sprintf("auth_callout { issuer: %s, account: %s, auth_users: [ %s, %s, %s ], %s }",
		f.account.public, protocol.AccountAuth, f.caller.public, f.operator.public, f.admin.public, xkey)
	if f.open {
		asks = ""
	}
	return fmt.Sprintf(`
server_name: broker
listen: %q
max_control_line: %d
jetstream { store_dir: %q }
accounts {
%s
%s
%s
%s
}
system_account: %s
authorization {
  timeout: 2
  %s
}
%s
`, strings.TrimPrefix(f.url, "nats://"), protocol.MaxControlLine, filepath.Join(f.dir, "jetstream"),
		account(protocol.AccountAuth, user(f.caller)),
		account(protocol.AccountState, "jetstream: enabled\n"+user(f.operator)),
		account(protocol.AccountDevices, ""),
		account(protocol.AccountSystem, user(f.admin)),
		protocol.AccountSystem, asks, leaves)
}

// config writes the callout's configuration and reads it back. extra is TOML for
// [limits].
func (f *fleet) config(tb testing.TB, extra string) *config.Config {
	tb.Helper()
	seed := func(name, seed string) string {
		file := filepath.Join(f.dir, name)
		if err := os.WriteFile(file, []byte(seed+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		return file
	}
	curve := ""
	if f.curve != nil {
		curve = seed("xkey.seed", f.curve.seed)
	}
	file := filepath.Join(f.dir, "callout.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
issuer = %q
project = %q
[nats]
url = %q
seed_file = %q
[keys]
account_seed_file = %q
xkey_seed_file = %q
[http]
address = %q
[limits]
%s
`, f.issuer.URL, issuertest.Project, f.url, seed("user.seed", f.caller.seed), seed("account.seed", f.account.seed), curve, freeAddress(tb), extra), 0o600); err != nil {
		tb.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// running is a callout that runs.
type running struct {
	address string
	stop    func()
}

// startCallout runs a callout as the program does; it ends with the test. It
// need not be ready yet.
func startCallout(tb testing.TB, c *config.Config, log io.Writer) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- callout.Run(ctx, c, slog.New(slog.NewJSONHandler(log, nil))) }()
	stopped := false
	r := &running{address: c.HTTPAddress}
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("run callout: %v", err)
			}
		case <-time.After(deadline):
			tb.Error("the callout did not stop")
		}
	}
	tb.Cleanup(r.stop)
	return r
}

// get returns status and body of a page of the callout.
func (r *running) get(tb testing.TB, path string) (int, string) {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + r.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *running) waitReady(tb testing.TB) {
	tb.Helper()
	eventually(tb, "the callout is ready", func() bool { status, _ := r.get(tb, "/readyz"); return status == http.StatusOK })
}

// ready starts a callout and waits for it.
func (f *fleet) ready(tb testing.TB, limits string) *running {
	tb.Helper()
	r := startCallout(tb, f.config(tb, limits), io.Discard)
	r.waitReady(tb)
	return r
}

// eventually polls until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("waited %s in vain: %s", deadline, what)
		}
	}
}

// connectNKey connects a user of the server's configuration.
func (f *fleet) connectNKey(tb testing.TB, k key, options ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(f.url, append([]nats.Option{nats.Nkey(k.public, k.pair.Sign), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort()}, options...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// connect connects as subject with a token for role.
func (f *fleet) connect(tb testing.TB, subject, role, inbox string, options ...nats.Option) *client {
	tb.Helper()
	c := &client{errors: make(chan error, 64)}
	nc, err := nats.Connect(f.url, append([]nats.Option{
		nats.Name(subject),
		nats.Token(f.issuer.Token(tb, subject, role, nil)),
		nats.CustomInboxPrefix(inbox),
		nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.errors <- err }),
	}, options...)...)
	if err != nil {
		tb.Fatalf("connect as %s %s: %v", role, subject, err)
	}
	tb.Cleanup(nc.Close)
	c.Conn = nc
	return c
}

func (f *fleet) device(tb testing.TB, id protocol.DeviceID) *client {
	tb.Helper()
	return f.connect(tb, string(id), string(protocol.RoleDevice), protocol.InboxPrefix(id))
}

func (f *fleet) fleetAdmin(tb testing.TB, name string) *client {
	tb.Helper()
	return f.connect(tb, name, string(protocol.RoleAdmin), protocol.AdminInboxPrefix(name))
}

// client is a connection that keeps the errors the server sends.
type client struct {
	*nats.Conn
	errors chan error
}

// createBuckets makes the buckets as the operator.
func createBuckets(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	for _, bucket := range protocol.Buckets() {
		s := bucket.Settings()
		c := jetstream.StreamConfig{
			Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, MaxMsgSize: s.MaxMsgSize,
			AllowDirect: s.AllowDirect, AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
			Discard: jetstream.DiscardOld,
		}
		if s.DiscardNew {
			c.Discard = jetstream.DiscardNew
		}
		if s.RepublishSource != "" {
			c.RePublish = &jetstream.RePublish{Source: s.RepublishSource, Destination: s.RepublishDestination, HeadersOnly: true}
		}
		if _, err := js.CreateStream(tb.Context(), c); err != nil {
			tb.Fatalf("create bucket %s: %v", bucket, err)
		}
	}
	return js
}

var discard = slog.New(slog.DiscardHandler)
