package connection

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seatrial/seatrial/internal/trust/trusttest"
)

// encrypted starts a broker that is reached with TLS alone.
func encrypted(t *testing.T, by *trusttest.Authority) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLS: true, TLSTimeout: deadline.Seconds(), TLSConfig: by.Server(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(deadline) {
		t.Fatal("the broker does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// A broker is believed to be the fleet's only with a certificate of the authority that
// is configured; if that is wrong, or replaced, it is read again.
func TestAuthorityIsReadForEveryConnection(t *testing.T) {
	right, wrong := trusttest.New(t), trusttest.New(t)
	file := filepath.Join(t.TempDir(), "ca.pem")
	s := encrypted(t, right)
	for _, row := range []struct {
		name    string
		prepare func()
	}{
		{"no file", func() {}},
		{"another authority", func() { wrong.Write(t, file) }},
		{"no certificate in it", func() {
			if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			row.prepare()
			l, failed, up := trusting(t, "nats://"+s.Addr().String(), file)
			for range 2 {
				select {
				case <-failed:
				case <-up:
					t.Fatal("it connected")
				case <-time.After(deadline):
					t.Fatal("no attempt")
				}
			}
			right.Write(t, file)
			await(t, up)
			if nc := l.current.Load(); !nc.IsConnected() || !nc.TLSRequired() {
				t.Error("the connection is not encrypted")
			}
		})
	}
}

// trusting runs a link that trusts the authority in a file.
func trusting(t *testing.T, url, file string) (*Link, failures, <-chan struct{}) {
	t.Helper()
	failed := make(failures, 1000)
	l, up := run(t, Settings{URL: url, CAFile: file}, new(mint), failed)
	return l, failed, up
}

// Who pretends to be a broker without TLS is told nothing.
func TestNothingIsToldWithoutTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	trusttest.New(t).Write(t, file)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, row := range []struct{ scheme, file string }{{"nats", file}, {"tls", file}, {"tls", ""}} {
		trusting(t, row.scheme+"://"+listener.Addr().String(), row.file)
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte("INFO {\"server_id\":\"S\",\"version\":\"2.15.2\",\"max_payload\":1048576,\"headers\":true,\"auth_required\":true}\r\n"))
		if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Error(err)
		}
		// The client hangs up.
		if said, err := io.ReadAll(conn); err != nil || strings.Contains(string(said), "CONNECT") {
			t.Errorf("%s:// with authority %q: it said %q, %v", row.scheme, row.file, said, err)
		}
		conn.Close()
	}
}
