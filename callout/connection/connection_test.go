package connection_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout/connection"
	"github.com/seatrial/seatrial/internal/trust/trusttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = time.Minute

// lines are what is logged.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// A broker whose certificate is of an authority that is not the configured one gets no
// connection, and the log says why; when the file is set right, it does by itself.
func TestBrokerIsKnownByItsAuthority(t *testing.T) {
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := user.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	right, file := trusttest.New(t), filepath.Join(t.TempDir(), "ca.pem")
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Nkeys: []*server.NkeyUser{{Nkey: public}},
		TLS: true, TLSTimeout: deadline.Seconds(), TLSConfig: right.Server(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the broker does not start")
	}
	trusttest.New(t).Write(t, file)

	ctx, cancel := context.WithCancel(t.Context())
	said, ended, using := make(lines, 1000), make(chan error, 1), make(chan *nats.Conn, 1)
	o := connection.Options{Name: "test", URL: s.ClientURL(), CAFile: file, UserSeed: seed, Log: slog.New(slog.NewTextHandler(said, nil))}
	go func() {
		ended <- connection.Keep(ctx, o, func(ctx context.Context, nc *nats.Conn, _ <-chan struct{}) error {
			using <- nc
			<-ctx.Done()
			return nil
		})
	}()
	nc := <-using
	await := func(text string) {
		t.Helper()
		for end := time.After(deadline); ; {
			select {
			case line := <-said:
				if strings.Contains(line, text) {
					return
				}
			case <-end:
				t.Fatalf("%q is not logged", text)
			}
		}
	}
	await("certificate signed by unknown authority")
	if nc.IsConnected() {
		t.Error("it is connected to a broker that it cannot know")
	}
	right.Write(t, file)
	await("Connected to the broker.")
	if !nc.TLSRequired() {
		t.Error("the connection is not encrypted")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
