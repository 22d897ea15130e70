package bypass_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/bypass"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

// patience bounds every wait; none expects to reach it.
const patience = time.Minute

// running is a server that runs with a configuration.
type running struct{ url, monitor string }

func run(t *testing.T, b *broker) running {
	t.Helper()
	b.top += "\nhttp: \"127.0.0.1:-1\""
	file := b.file(t)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), `"/nowhere"`, `"`+t.TempDir()+`"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start")
	}
	if b.list != nil {
		b.makeList(t, s.ClientURL())
	}
	return running{url: s.ClientURL(), monitor: "http://" + s.MonitorAddr().String()}
}

// makeList makes the deny list's stream as the operator.
func (b *broker) makeList(t *testing.T, url string) {
	t.Helper()
	user, err := nkeys.FromSeed(b.seeds[b.operator])
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(url, nats.Nkey(b.operator, user.Sign), nats.Timeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	js, err := jetstream.New(nc)
	if err == nil {
		_, err = js.CreateStream(ctx, *b.list)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// denyList is the deny list's stream as the contract has it.
func denyList() *jetstream.StreamConfig {
	s := protocol.BucketDenied.Settings()
	return &jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, MaxMsgSize: s.MaxMsgSize, Replicas: 1,
		AllowDirect: s.AllowDirect, AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge, Discard: jetstream.DiscardNew,
		RePublish: &jetstream.RePublish{Source: s.RepublishSource, Destination: s.RepublishDestination, HeadersOnly: true},
	}
}

// kinds are the kinds and places of findings.
func kinds(found []bypass.Finding) (all []string) {
	for _, f := range found {
		all = append(all, string(f.Kind)+" "+f.Where)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestBypassesOfARunningServer(t *testing.T) {
	k := newKeys(t)
	for name, row := range map[string]struct {
		change            func(*broker)
		monitor, attempts []string
	}{
		"of the contract": {func(*broker) {}, nil, nil},
		"everything open": {
			func(b *broker) {
				b.callout = "-"
				b.more(protocol.AccountDevices, `jetstream: enabled, users: [ { user: a, password: b } ], mappings { "a": "b" }`)
				b.accounts["OTHER"] = `exports: [ { service: "x.>" } ], imports: [ { service: { account: STATE, subject: "$KV.device-info.*" }, to: "all.*" } ]`
				b.more(protocol.AccountState, `exports: [ { service: "$KV.device-info.*" } ]`)
				b.more(protocol.AccountAuth, `imports: [ ]`)
				b.more(protocol.AccountDevices, `imports: [ { service: { account: STATE, subject: "$KV.device-info.*" } } ]`)
				b.top = `server_name: a, no_auth_user: a
leafnodes { listen: "127.0.0.1:-1" }
websocket { listen: "127.0.0.1:-1", no_tls: true, no_auth_user: a }`
			},
			[]string{
				"deny-list accounts.AUTH.imports", "foreign-share accounts.OTHER.imports", "jetstream accounts.DEVICES.jetstream", "listener leafnodes", "listener websocket",
				"mapping accounts.DEVICES.mappings", "no-auth-user websocket.no_auth_user", "public-export accounts.OTHER.exports", "public-export accounts.STATE.exports",
			},
			[]string{"anonymous URL", "no-auth-required URL"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(k)
			b.callout = "account: AUTH"
			row.change(b)
			s := run(t, b)
			found, err := bypass.Monitor(t.Context(), s.monitor+"/", bypass.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := kinds(found); !slices.Equal(got, row.monitor) {
				t.Errorf("monitoring tells of\n%q, want\n%q\n%v", got, row.monitor, found)
			}
			found, err = bypass.Connect(t.Context(), s.url, "")
			if err != nil {
				t.Fatal(err)
			}
			got := kinds(found)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], s.url, "URL")
			}
			if !slices.Equal(got, row.attempts) {
				t.Errorf("came in by %q, want %q", got, row.attempts)
			}
		})
	}
}

func TestServerThatCannotBeAsked(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(page.Close)
	for _, address := range []string{"http://127.0.0.1:1", page.URL, "::"} {
		if _, err := bypass.Monitor(t.Context(), address, bypass.Options{}); err == nil {
			t.Errorf("%s: asked", address)
		}
	}
	for _, address := range []string{"nats://127.0.0.1:1", "http://127.0.0.1:1", "nats://a:b@127.0.0.1:1", "::", "nats://" + strings.TrimPrefix(page.URL, "http://")} {
		if _, err := bypass.Connect(t.Context(), address, ""); err == nil {
			t.Errorf("%s: tried", address)
		} else if strings.Contains(err.Error(), "a:b") {
			t.Errorf("it tells a password: %v", err)
		}
	}
}

// Who is kept from trying has not been refused: a server whose certificate nobody
// here trusts, or that is full, may let everybody else in.
func TestAttemptThatCouldNotBeMadeIsNoRefusal(t *testing.T) {
	certificate, key := selfSigned(t)
	for name, top := range map[string]string{
		"a certificate that is not trusted": fmt.Sprintf("tls { cert_file: %q, key_file: %q }", certificate, key),
		"a full server":                     "max_connections: 0",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(newKeys(t))
			b.callout, b.list, b.top = "account: AUTH", nil, top
			s := run(t, b)
			if found, err := bypass.Connect(t.Context(), s.url, ""); err == nil {
				t.Errorf("no attempt was made, and it found %v", found)
			}
		})
	}
	b := newBroker(newKeys(t))
	b.callout, b.list, b.top = "account: AUTH", nil, fmt.Sprintf("tls { cert_file: %q, key_file: %q }", certificate, key)
	s := run(t, b)
	if found, err := bypass.Connect(t.Context(), s.url, certificate); err != nil || len(found) > 0 {
		t.Errorf("with the authority that is configured it found %v, %v", found, err)
	}
}

// It is the server that was named which is tried, not those of its cluster that it
// tells of, at addresses by which they may be reached from elsewhere alone.
func TestOtherServersOfAClusterAreNotTried(t *testing.T) {
	routes, nowhere := port.ForTest(t).Address(), "127.0.0.1:1"
	b := newBroker(newKeys(t))
	b.callout, b.list = "account: AUTH", nil
	b.top = fmt.Sprintf(`server_name: a, cluster { name: a, listen: %q, routes: [ "nats://127.0.0.1:1" ], authorization { user: a, password: b } }`, routes)
	s := run(t, b)
	other, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, ClientAdvertise: nowhere, Cluster: server.ClusterOpts{Name: "a", Host: "127.0.0.1", Port: -1, Username: "a", Password: "b"},
		Routes: []*url.URL{{Scheme: "nats", Host: routes, User: url.UserPassword("a", "b")}}, NoLog: true, NoSigs: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	other.Start()
	t.Cleanup(func() { other.Shutdown(); other.WaitForShutdown() })
	for end := time.Now().Add(patience); !strings.Contains(greeting(t, s.url), nowhere); {
		if time.Now().After(end) {
			t.Fatal("the servers did not find each other")
		}
	}

	if found, err := bypass.Connect(t.Context(), s.url, ""); err != nil || len(found) > 0 {
		t.Errorf("found %v, error %v", found, err)
	}
	if _, err := bypass.AsCallout(t.Context(), s.url, "", b.seeds[b.other]); !errors.Is(err, bypass.ErrNotAdmitted) {
		t.Errorf("as another than the callout: %v", err)
	}
}

// greeting is what a server tells before it knows who comes.
func greeting(t *testing.T, address string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(address, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// selfSigned makes a certificate for this machine that nobody trusts.
func selfSigned(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, block *pem.Block) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("server.crt", &pem.Block{Type: "CERTIFICATE", Bytes: raw}), write("server.key", &pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}
