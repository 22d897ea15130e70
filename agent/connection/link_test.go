package connection

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/internal/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = time.Minute

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

func spread(d time.Duration) func() time.Duration { return func() time.Duration { return d } }

// within runs a link and returns what is sent to for each connection.
func within(t *testing.T, url string, m *mint, log *slog.Logger) (*Link, <-chan struct{}) {
	t.Helper()
	return run(t, Settings{URL: url}, m, log.Handler())
}

// run runs a link with these settings until the test ends.
func run(t *testing.T, s Settings, m *mint, log slog.Handler) (*Link, <-chan struct{}) {
	t.Helper()
	up := make(chan struct{}, 100)
	s.Device, s.Spread, s.Up = "device-1", spread(50*time.Millisecond), func() { up <- struct{}{} }
	l := New(s, m, slog.New(log))
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

func broker(t *testing.T, number int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: number, NoSigs: true, NoLog: true})
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
	kept := port.ForTest(t)
	s := broker(t, kept.Number())
	l, up := within(t, s.ClientURL(), new(mint), quiet)
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
		s = broker(t, kept.Number())
	}
	await(t, up)
}

func TestDownIsSaid(t *testing.T) {
	l := New(Settings{Device: "device-1", Spread: spread(0)}, new(mint), quiet)
	if err := l.Publish("x", nil); !errors.Is(err, ErrDown) {
		t.Errorf("publish: %v, want %v", err, ErrDown)
	}
	if _, err := l.Request(t.Context(), "x", nil); !errors.Is(err, ErrDown) {
		t.Errorf("request: %v, want %v", err, ErrDown)
	}
}

// failures is a log that tells of every attempt that failed.
type failures chan struct{}

func (f failures) Enabled(context.Context, slog.Level) bool { return true }
func (f failures) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f failures) WithGroup(string) slog.Handler            { return f }

func (f failures) Handle(_ context.Context, r slog.Record) error {
	if r.Message == AttemptFailed {
		f <- struct{}{}
	}
	return nil
}

func TestFailedAttemptsKeepTheirToken(t *testing.T) {
	kept := port.ForTest(t) // it refuses connections as long as nobody listens
	m, failed := new(mint), make(failures, 1000)
	_, up := within(t, "nats://"+kept.Address(), m, slog.New(failed))
	for range 3 {
		select {
		case <-failed:
		case <-time.After(deadline):
			t.Fatal("no attempt")
		}
	}
	if n := m.number.Load(); n != 1 {
		t.Errorf("%d tokens were made for a broker that is away, want 1", n)
	}
	broker(t, kept.Number())
	await(t, up)
}

func TestIssuerComesBack(t *testing.T) {
	s := broker(t, server.RANDOM_PORT)
	m := new(mint)
	failure := error(&credential.Refusal{Status: 500, Code: "server_error"})
	m.fail.Store(&failure)
	_, up := within(t, s.ClientURL(), m, quiet)
	for m.number.Load() < 2 {
		<-time.After(10 * time.Millisecond)
	}
	if s.NumClients() != 0 {
		t.Error("it connected without a token")
	}
	m.fail.Store(nil)
	await(t, up)
}

// A fleet whose broker restarts while the issuer is away comes back by what it has, and
// nobody does whom the issuer turned away.
func TestIssuerAwayLeavesTheTokenOfBefore(t *testing.T) {
	kept := port.ForTest(t)
	s := broker(t, kept.Number())
	m := new(mint)
	restart := func(failure error) {
		t.Helper()
		if failure == nil {
			m.fail.Store(nil)
		} else {
			m.fail.Store(&failure)
		}
		s.Shutdown()
		s.WaitForShutdown()
		s = broker(t, kept.Number())
	}
	l, up := within(t, s.ClientURL(), m, quiet)
	await(t, up)
	first := l.Token()
	for range 2 {
		restart(fmt.Errorf("ask for a token: %w", credential.ErrUnreachable))
		await(t, up)
		if l.Token() != first {
			t.Errorf("it connected with token %q, want %q again", l.Token(), first)
		}
	}
	restart(nil)
	await(t, up)
	if l.Token() == first {
		t.Error("the token of before is presented though the issuer gives another")
	}
	restart(&credential.Refusal{Status: 400, Code: "invalid_grant"})
	for asked := m.number.Load(); m.number.Load() < asked+3; {
		<-time.After(10 * time.Millisecond)
	}
	if s.NumClients() != 0 {
		t.Error("it connected though the issuer refuses it")
	}
	m.fail.Store(nil)
	await(t, up)
}

func TestTokenOfBeforeIsNotPresentedWhenItEnds(t *testing.T) {
	unreachable := fmt.Errorf("ask for a token: %w", credential.ErrUnreachable)
	for life, want := range map[time.Duration]bool{2 * leastLife: true, leastLife - time.Second: false, -time.Hour: false} {
		tk := &tokens{pace: pace{spread: spread(0)}, log: quiet}
		tk.keep(&credential.Token{ID: "1", Expiry: time.Now().Add(life)})
		tk.hand()
		tk.accepted()
		if got := tk.again(t.Context(), unreachable); got != want || tk.ready() != want {
			t.Errorf("with %s left it is presented again: %t", life, got)
		}
	}
	tk := &tokens{pace: pace{spread: spread(0)}, log: quiet}
	tk.keep(&credential.Token{ID: "1", Expiry: time.Now().Add(time.Hour)})
	if tk.hand(); tk.again(t.Context(), unreachable) {
		t.Error("a token that was never accepted is presented for ever")
	}
}

// A client that the broker ends with an error it does not know is closed by the
// library for good.
func TestRebuildsAClosedConnection(t *testing.T) {
	s := broker(t, server.RANDOM_PORT)
	l, up := within(t, s.ClientURL(), new(mint), quiet)
	await(t, up)
	token := l.Token()
	l.current.Load().Close()
	await(t, up)
	if l.Token() == token {
		t.Error("the rebuilt connection has the old token")
	}
}

// A broker that accepts and never answers must not gather sockets: each is closed
// when the next is made, and the last when the link ends.
func TestSilentBrokerHoldsOneSocket(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(Settings{URL: "nats://" + listener.Addr().String(), Device: "device-1", Spread: spread(time.Millisecond), Up: func() {}}, new(mint), quiet)
	l.timeout = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	closed := func(conn net.Conn) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a socket is left open")
		}
		conn.Close()
	}
	var previous net.Conn
	for range 4 {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		// INFO, and silence: the client runs into its timeout.
		_, _ = conn.Write([]byte("INFO {\"server_id\":\"S\",\"version\":\"2.15.2\",\"max_payload\":1048576,\"headers\":true}\r\n"))
		if previous != nil {
			closed(previous)
		}
		previous = conn
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	closed(previous)
	listener.Close()
}

// A token is kept while the outage lasts that it was made for, and no longer.
func TestTokenIsForOneOutage(t *testing.T) {
	m := new(mint)
	tk := &tokens{minter: m, pace: pace{spread: spread(time.Millisecond)}, log: quiet}
	if tk.hand(); tk.ready() {
		t.Error("there is a token before one was made")
	}
	prepare := func() {
		t.Helper()
		if !tk.prepare(t.Context(), nil) || !tk.ready() {
			t.Fatal("no token is ready")
		}
	}
	for range maxPresentations {
		prepare()
		tk.hand()
	}
	if m.number.Load() != 1 || tk.presented() != "1" {
		t.Errorf("%d tokens were made, %q presented, want one that is presented again", m.number.Load(), tk.presented())
	}
	prepare()
	if tk.hand(); tk.presented() != "2" {
		t.Error("a token that was turned away again and again is presented for ever")
	}
	tk.accepted()
	if tk.ready() {
		t.Error("a token that was accepted is kept for the next outage")
	}
	prepare()
	tk.mu.Lock()
	tk.madeAt = tk.madeAt.Add(-staleAfter - time.Second)
	tk.mu.Unlock()
	prepare()
	if m.number.Load() != 4 {
		t.Errorf("%d tokens were made, want another for one that is old", m.number.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tk.prepare(ctx, nil) {
		t.Error("a token was prepared although nobody wants it any more")
	}
}

// Nobody presents a token that ends soon.
func TestShortLivedTokenIsMadeAnew(t *testing.T) {
	tk := &tokens{pace: pace{spread: spread(0)}, log: quiet}
	for life, want := range map[time.Duration]bool{time.Hour: true, 3 * time.Minute: true, 100 * time.Second: false} {
		tk.next = &credential.Token{Expiry: time.Now().Add(life - time.Minute)}
		tk.madeAt = time.Now().Add(-time.Minute)
		if got := tk.fresh(); got != want {
			t.Errorf("a minute after it was made for %s a token is fresh: %t", life, got)
		}
	}
}
