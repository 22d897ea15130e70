package callout_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = time.Minute

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
	// peer is a second server of a cluster with the first, peerURL where clients reach
	// it; routes are the addresses by which the two reach each other. All are empty
	// where there is one server.
	peer    *server.Server
	peerURL string
	routes  []string
	// between is what lies on the way of each of the two to the other.
	between []*relay
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
func withLeaves(tb testing.TB, f *fleet) { f.leaves = port.ForTest(tb).Address() }

// clustered has the broker be two servers.
func clustered(tb testing.TB, f *fleet) {
	f.peerURL = "nats://" + port.ForTest(tb).Address()
	f.routes = []string{port.ForTest(tb).Address(), port.ForTest(tb).Address()}
	for _, route := range f.routes {
		f.between = append(f.between, newRelay(tb, route))
	}
}

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
	f.url = "nats://" + port.ForTest(tb).Address()
	f.startBroker(tb)
	tb.Cleanup(f.stopBroker)
	operator := f.connectNKey(tb, f.operator)
	defer operator.Close()
	createBuckets(tb, operator)
	return f
}

// startBroker starts the broker, again on the same address and store.
func (f *fleet) startBroker(tb testing.TB) {
	tb.Helper()
	f.broker = f.startServer(tb, "broker", f.url)
	if f.peerURL != "" {
		f.peer = f.startServer(tb, "peer", f.peerURL)
	}
	for _, s := range f.servers() {
		if !s.ReadyForConnections(deadline) {
			tb.Fatal("the broker did not start")
		}
	}
	if f.peer != nil {
		eventually(tb, "the servers have found each other", func() bool {
			return slices.ContainsFunc(f.servers(), func(s *server.Server) bool { return s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == 2 })
		})
	}
}

func (f *fleet) servers() []*server.Server {
	if f.peer == nil {
		return []*server.Server{f.broker}
	}
	return []*server.Server{f.broker, f.peer}
}

// startServer starts one server of the broker. It need not be ready yet.
func (f *fleet) startServer(tb testing.TB, name, url string) *server.Server {
	tb.Helper()
	file := filepath.Join(f.dir, name+".conf")
	if err := os.WriteFile(file, []byte(f.serverConfig(name, url)), 0o600); err != nil {
		tb.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	s, err := server.NewServer(options)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	return s
}

func (f *fleet) stopBroker() {
	for _, s := range f.servers() {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

// serverConfig renders what the contract says into the server's words.
func (f *fleet) serverConfig(name, url string) string {
	exports, imports := map[string][]string{}, map[string][]string{}
	for _, s := range protocol.Shares() {
		response := ""
		if s.Many {
			response = ", response: stream"
		}
		exports[s.From] = append(exports[s.From], fmt.Sprintf("{ %s: %q, accounts: [%s]%s }", s.Kind, s.Subject, s.To, response))
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
	cluster := ""
	if f.routes != nil {
		own, other := 0, 1
		if name != "broker" {
			own, other = other, own
		}
		cluster = fmt.Sprintf("cluster { name: fleet, listen: %q, advertise: %q, routes: [ %q ] }",
			f.routes[own], f.between[own].address, "nats-route://"+f.between[other].address)
	}
	asks := fmt.Sprintf("auth_callout { issuer: %s, account: %s, auth_users: [ %s, %s, %s ], %s }",
		f.account.public, protocol.AccountAuth, f.caller.public, f.operator.public, f.admin.public, xkey)
	if f.open {
		asks = ""
	}
	return fmt.Sprintf(`
server_name: %s
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
%s
`, name, strings.TrimPrefix(url, "nats://"), protocol.MaxControlLine, filepath.Join(f.dir, "jetstream", name),
		account(protocol.AccountAuth, user(f.caller)),
		account(protocol.AccountState, "jetstream: enabled\n"+user(f.operator)),
		account(protocol.AccountDevices, ""),
		account(protocol.AccountSystem, user(f.admin)),
		protocol.AccountSystem, asks, leaves, cluster)
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
`, f.issuer.URL, issuertest.Project, f.url, seed("user.seed", f.caller.seed), seed("account.seed", f.account.seed), curve, port.ForTest(tb).Address(), extra), 0o600); err != nil {
		tb.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
