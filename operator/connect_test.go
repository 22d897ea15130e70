package operator

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/internal/trust/trusttest"
)

// The operator writes what devices run to no broker but the one whose authority it was
// given, and finds it by itself when the file is set right.
func TestBrokerIsKnownByItsAuthority(t *testing.T) {
	const deadline = time.Minute
	user, err := nkeys.CreateUser()
	must(t, err)
	public, err := user.PublicKey()
	must(t, err)
	seed, err := user.Seed()
	must(t, err)
	dir, right := t.TempDir(), trusttest.New(t)
	o := Options{SeedFile: filepath.Join(dir, "operator.nk"), CAFile: filepath.Join(dir, "ca.pem")}
	must(t, os.WriteFile(o.SeedFile, seed, 0o600))
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Nkeys: []*server.NkeyUser{{Nkey: public}},
		TLS: true, TLSTimeout: deadline.Seconds(), TLSConfig: right.Server(t),
	})
	must(t, err)
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the broker does not start")
	}
	o.BrokerURL = s.ClientURL()
	trusttest.New(t).Write(t, o.CAFile)

	connected := make(chan struct{}, 1)
	nc, err := connect(o, nats.ConnectHandler(func(*nats.Conn) { connected <- struct{}{} }))
	must(t, err)
	defer nc.Close()
	// Two more attempts, at least, have failed by then.
	select {
	case <-connected:
		t.Fatal("it is connected to a broker that it cannot know")
	case <-time.After(2 * (reconnectWait + reconnectJitter)):
	}
	right.Write(t, o.CAFile)
	select {
	case <-connected:
	case <-time.After(deadline):
		t.Fatal("it does not find the broker any more")
	}
	if !nc.TLSRequired() {
		t.Error("the connection is not encrypted")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
