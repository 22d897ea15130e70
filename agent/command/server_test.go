package command

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 20 * time.Second

// slow is an agent whose reconciles last until they are let go.
type slow struct {
	begun chan struct{}
	let   chan struct{}
}

func (s *slow) Token() string    { return "token-1" }
func (s *slow) Revision() uint64 { return 7 }
func (s *slow) Status() *protocol.DeviceStatus {
	return &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Revision: 7}
}

func (s *slow) Reconcile(ctx context.Context) ([]string, error) {
	s.begun <- struct{}{}
	select {
	case <-s.let:
		return []string{"web"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect returns a connection to a broker of its own.
func connect(t *testing.T) *nats.Conn {
	t.Helper()
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	nc, err := nats.Connect(broker.ClientURL(), nats.CustomInboxPrefix(protocol.AdminInboxPrefix("admin-1")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// held is a log that takes no word about a reconcile until it is let go.
type held chan struct{}

func (h held) Enabled(context.Context, slog.Level) bool { return true }
func (h held) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h held) WithGroup(string) slog.Handler            { return h }

func (h held) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "verb" && a.Value.Any() == protocol.VerbReconcile {
			<-h
		}
		return true
	})
	return nil
}

func TestCommandsAtOnceAreBounded(t *testing.T) {
	nc := connect(t)
	agent := &slow{begun: make(chan struct{}), let: make(chan struct{})}
	log := make(held)
	s := NewServer("device-1", agent, slog.New(log))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	if _, err := nc.Subscribe(protocol.CommandSubject("device-1", "*"), s.Handle); err != nil {
		t.Fatal(err)
	}
	inbox := protocol.AdminInboxPrefix("admin-1") + ".answers"
	answers, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(verb protocol.Verb) {
		t.Helper()
		if err := nc.PublishRequest(protocol.CommandSubject("device-1", verb), inbox, []byte(`{"version":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	next := func() *protocol.CommandReply {
		t.Helper()
		msg, err := answers.NextMsg(deadline)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := protocol.DecodeCommandReply(msg.Data)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	for range atOnce {
		ask(protocol.VerbReconcile)
		<-agent.begun
	}
	ask(protocol.VerbPing)
	if reply := next(); reply.Verb != protocol.VerbPing || !strings.Contains(reply.Error, "too many") {
		t.Errorf("one too many is answered %+v", reply)
	}
	agent.let <- struct{}{}
	if reply := next(); reply.Error != "" || reply.Revision != 7 || reply.TokenID != "token-1" || reply.Status == nil || len(reply.Changed) != 1 {
		t.Errorf("a reconcile is answered %+v", reply)
	}
	// Whoever has its answer may ask again, whatever is left to do about it here.
	ask(protocol.VerbPing)
	if reply := next(); reply.Error != "" || reply.Status != nil || reply.TokenID != "token-1" {
		t.Errorf("a ping is answered %+v", reply)
	}
	close(log)
	// The end of the server ends what it carries out, and says so.
	cancel()
	<-done
	for range atOnce - 1 {
		if reply := next(); reply.Verb != protocol.VerbReconcile || reply.Error == "" {
			t.Errorf("a reconcile that was cut short is answered %+v", reply)
		}
	}
}
