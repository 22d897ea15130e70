package connection

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/credential"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 20 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// mint makes numbered tokens, or fails.
type mint struct {
	number atomic.Int64
	fail   atomic.Pointer[error]
}

func (m *mint) Mint(context.Context) (credential.Token, error) {
	number := m.number.Add(1)
	if err := m.fail.Load(); err != nil {
		return credential.Token{}, *err
	}
	return credential.Token{ID: strconv.FormatInt(number, 10), Expiry: time.Now().Add(time.Hour)}, nil
}

// within runs a link and returns what is sent to for each connection.
func within(t *testing.T, url string, m *mint) (*Link, <-chan struct{}) {
	t.Helper()
	up := make(chan struct{}, 100)
	l := New(Settings{URL: url, Device: "device-1", Jitter: 50 * time.Millisecond, Up: func() { up <- struct{}{} }}, m, quiet)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the link ended with %v", err)
		}
	})
	return l, up
}

func await(t *testing.T, up <-chan struct{}) {
	t.Helper()
	select {
	case <-up:
	case <-time.After(deadline):
		t.Fatal("no connection")
	}
}

func broker(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true})
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

func TestEachConnectionHasAnotherToken(t *testing.T) {
	s := broker(t, server.RANDOM_PORT)
	port := s.Addr().(*net.TCPAddr).Port
	l, up := within(t, s.ClientURL(), new(mint))
	seen := map[string]bool{}
	for range 4 {
		await(t, up)
		if token := l.Token(); token == "" || seen[token] {
			t.Errorf("token %q after %v", token, seen)
		} else {
			seen[token] = true
		}
		s.Shutdown()
		s.WaitForShutdown()
		s = broker(t, port)
	}
	await(t, up)
}

func TestDownIsSaid(t *testing.T) {
	l := New(Settings{Device: "device-1"}, new(mint), quiet)
	if err := l.Publish("x", nil); !errors.Is(err, ErrDown) {
		t.Errorf("publish: %v, want %v", err, ErrDown)
	}
	if _, err := l.Request(t.Context(), "x", nil); !errors.Is(err, ErrDown) {
		t.Errorf("request: %v, want %v", err, ErrDown)
	}
}

func TestFailedAttemptsKeepTheirToken(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	m := new(mint)
	_, up := within(t, "nats://127.0.0.1:"+strconv.Itoa(port), m)
	// Enough attempts are refused by then.
	<-time.After(time.Second)
	if n := m.number.Load(); n != 1 {
		t.Errorf("%d tokens were made for a broker that is away, want 1", n)
	}
	broker(t, port)
	await(t, up)
}

func TestIssuerComesBack(t *testing.T) {
	s := broker(t, server.RANDOM_PORT)
	m := new(mint)
	failure := error(&credential.Refusal{Status: 500, Code: "server_error"})
	m.fail.Store(&failure)
	_, up := within(t, s.ClientURL(), m)
	for m.number.Load() < 2 {
		<-time.After(10 * time.Millisecond)
	}
	if s.NumClients() != 0 {
		t.Error("it connected without a token")
	}
	m.fail.Store(nil)
	await(t, up)
}

// A client that the broker ends with an error it does not know is closed by the
// library for good.
func TestRebuildsAClosedConnection(t *testing.T) {
	s := broker(t, server.RANDOM_PORT)
	l, up := within(t, s.ClientURL(), new(mint))
	await(t, up)
	token := l.Token()
	l.current.Load().Close()
	await(t, up)
	if l.Token() == token {
		t.Error("the rebuilt connection has the old token")
	}
}

// A broker that accepts and never answers must not gather sockets.
func TestSilentBrokerHoldsOneSocket(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var open, most, attempts int
	var readers sync.WaitGroup
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open++
			attempts++
			most = max(most, open)
			mu.Unlock()
			readers.Go(func() {
				// INFO, and silence: the client runs into its timeout.
				_, _ = conn.Write([]byte("INFO {\"server_id\":\"S\",\"version\":\"2.15.2\",\"max_payload\":1048576,\"headers\":true}\r\n"))
				_, _ = io.Copy(io.Discard, conn)
				conn.Close()
				mu.Lock()
				open--
				mu.Unlock()
			})
		}
	}()
	t.Run("link", func(t *testing.T) {
		l := New(Settings{URL: "nats://" + listener.Addr().String(), Device: "device-1", Jitter: time.Millisecond, Up: func() {}}, new(mint), quiet)
		l.timeout = 100 * time.Millisecond
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		for {
			mu.Lock()
			enough := attempts >= 4
			mu.Unlock()
			if enough {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	listener.Close()
	<-served
	readers.Wait()
	// The old one may still be closing when the new one is there.
	if most > 2 {
		t.Errorf("%d sockets were open at once", most)
	}
}

func TestSpread(t *testing.T) {
	tokens := &tokens{jitter: time.Second}
	for exponent, ceiling := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, mostWait, mostWait} {
		var longest time.Duration
		for range 1000 {
			got := tokens.spread(exponent, true)
			if got < leastWait || got > ceiling {
				t.Fatalf("after %d failures the wait is %s, want %s to %s", exponent, got, leastWait, ceiling)
			}
			longest = max(longest, got)
		}
		if longest < ceiling/2 {
			t.Errorf("after %d failures the longest of 1000 waits is %s of %s", exponent, longest, ceiling)
		}
	}
}

func TestHandGivesATokenOnce(t *testing.T) {
	m := new(mint)
	tk := &tokens{minter: m, jitter: time.Millisecond, log: quiet}
	if tk.hand(); tk.ready() {
		t.Error("there is a token before one was made")
	}
	if !tk.prepare(t.Context(), 0) || !tk.ready() {
		t.Fatal("no token is ready")
	}
	tk.hand()
	if tk.ready() || tk.presented() != "1" {
		t.Errorf("ready %t, presented %q, want one that is spent", tk.ready(), tk.presented())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tk.prepare(ctx, 1) {
		t.Error("a token was prepared although nobody wants it any more")
	}
}
