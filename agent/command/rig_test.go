package command

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait; none expects to reach it.
const deadline = 30 * time.Second

// double is an agent whose reconciles last until they are let go, and whose logs
// are what the test writes.
type double struct {
	begun chan struct{}
	let   chan struct{}
	lines chan protocol.LogLine
	// wiped is closed when the device is.
	wiped chan struct{}
}

func newDouble() *double {
	return &double{begun: make(chan struct{}), let: make(chan struct{}), lines: make(chan protocol.LogLine), wiped: make(chan struct{})}
}

func (d *double) Token() string    { return "token-1" }
func (d *double) Revision() uint64 { return 7 }
func (d *double) Status() *protocol.DeviceStatus {
	return &protocol.DeviceStatus{Version: protocol.Version, Device: "device-1", Revision: 7}
}

func (d *double) Reconcile(ctx context.Context) ([]string, error) {
	d.begun <- struct{}{}
	select {
	case <-d.let:
		return []string{"web"}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (d *double) Inspect(_ context.Context, workload string) (*protocol.ContainerDetail, error) {
	return &protocol.ContainerDetail{Name: workload, ID: "id-1", Variables: []string{"LEVEL"}}, nil
}

func (d *double) Logs(ctx context.Context, _ string, _ int, _ bool, line func(protocol.LogLine) error) error {
	for {
		select {
		case l, open := <-d.lines:
			if !open {
				return nil
			}
			if err := line(l); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *double) Restart(context.Context, string) error { return nil }
func (d *double) Rotate() error                         { return errNoService }

func (d *double) Retry(workload string) error { return errors.New("there is no workload " + workload) }

func (d *double) Wipe(string, bool) (func(), error) { return func() { close(d.wiped) }, nil }

var errNoService = errors.New("there is no enrolment service")

// rig is a server of commands and an admin.
type rig struct {
	t      *testing.T
	url    string
	agent  *double
	server *Server
	audit  *audit.Log
	folder string
	// stop ends the server.
	stop    func()
	admin   *nats.Conn
	inbox   string
	answers *nats.Subscription
}

func newRig(t *testing.T, log *slog.Logger) *rig {
	t.Helper()
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	t.Cleanup(func() { broker.Shutdown(); broker.WaitForShutdown() })
	r := &rig{t: t, url: broker.ClientURL(), agent: newDouble(), folder: t.TempDir()}
	if r.audit, _, err = audit.Open(r.folder); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.audit.Close() })
	device := r.connect("device-1")
	r.server = NewServer("device-1", r.agent, device, r.audit, log)
	r.server.heartbeat = 50 * time.Millisecond
	for subject, handler := range map[string]nats.MsgHandler{
		protocol.CommandSubject("device-1", "*"): r.server.Handle, Streams("device-1"): r.server.Unheard,
	} {
		if _, err := device.Subscribe(subject, handler); err != nil {
			t.Fatal(err)
		}
	}
	if err := device.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.server.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	t.Cleanup(r.stop)
	r.admin, r.inbox = r.connect("admin"), protocol.AdminInboxPrefix("alice")+".answers"
	if r.answers, err = r.admin.SubscribeSync(r.inbox); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) connect(name string) *nats.Conn {
	r.t.Helper()
	nc, err := nats.Connect(r.url, nats.Name(name))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// ask sends a command as it stands.
func (r *rig) ask(verb protocol.Verb, payload string) {
	r.t.Helper()
	if err := r.admin.PublishRequest(protocol.CommandSubject("device-1", verb), r.inbox, []byte(payload)); err != nil {
		r.t.Fatal(err)
	}
}

// next is the next answer.
func (r *rig) next() *protocol.CommandReply {
	r.t.Helper()
	msg, err := r.answers.NextMsg(deadline)
	if err != nil {
		r.t.Fatal(err)
	}
	reply, err := protocol.DecodeCommandReply(msg.Data)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply
}

// entries are what was written down.
func (r *rig) entries() []audit.Entry {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.folder, "audit.jsonl"))
	if err != nil {
		r.t.Fatal(err)
	}
	var all []audit.Entry
	for line := range strings.Lines(string(data)) {
		var entry audit.Entry
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, entry)
	}
	return all
}
