package trail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/trail"
	"github.com/seatrial/seatrial/internal/port"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline bounds every wait of these tests; none expects to reach it.
const deadline = time.Minute

// rig is a broker with a connection to it.
type rig struct {
	*testing.T
	options *server.Options
	broker  *server.Server
	nc      *nats.Conn
	js      jetstream.JetStream
}

func newRig(t *testing.T) *rig {
	t.Helper()
	number := port.ForTest(t).Number()
	r := &rig{T: t, options: &server.Options{Host: "127.0.0.1", Port: number, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}}
	r.start()
	t.Cleanup(func() { r.stop() })
	var err error
	r.nc, err = nats.Connect(r.broker.ClientURL(), nats.Timeout(deadline), nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectBufSize(-1))
	r.must(err)
	t.Cleanup(r.nc.Close)
	r.js, err = jetstream.New(r.nc)
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) start() {
	r.Helper()
	var err error
	r.broker, err = server.NewServer(r.options)
	r.must(err)
	r.broker.Start()
	if !r.broker.ReadyForConnections(deadline) {
		r.Fatal("the broker did not start")
	}
}

func (r *rig) stop() {
	r.broker.Shutdown()
	r.broker.WaitForShutdown()
}

// within returns a context that ends after the deadline, or with the test.
func (r *rig) within() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), deadline)
	r.Cleanup(cancel)
	return ctx
}

// stream makes the audit stream.
func (r *rig) stream() {
	r.Helper()
	s := protocol.AuditSettings()
	_, err := r.js.CreateStream(r.within(), jetstream.StreamConfig{
		Name: s.Name, Subjects: s.Subjects, MaxMsgSize: s.MaxMsgSize, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
		MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, MaxMsgs: s.MaxMsgs,
	})
	r.must(err)
}

// run runs a trail until the test ends.
func (r *rig) run(t *trail.Trail) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- t.Run(ctx, r.nc, nil) }()
	r.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			r.Error(err)
		}
	})
}

func (r *rig) flush(t *trail.Trail) {
	r.Helper()
	r.must(t.Flush(r.within()))
}

// line is what the stream keeps of a decision.
type line struct {
	Time                                   time.Time
	Level, Msg, Result, Reason, Name, Role string
	ClientID                               uint64
}

// kept are the decisions in the stream, and the messages they are in.
func (r *rig) kept() (lines []line, messages uint64) {
	r.Helper()
	stream, err := r.js.Stream(r.within(), protocol.AuditStream)
	r.must(err)
	info, err := stream.Info(r.within())
	r.must(err)
	for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(r.within(), sequence)
		r.must(err)
		for text := range strings.Lines(string(msg.Data)) {
			var l line
			r.must(json.Unmarshal([]byte(text), &l))
			lines = append(lines, l)
		}
	}
	return lines, info.State.Msgs
}

func decision(i int) *audit.Record {
	return &audit.Record{Result: audit.Admitted, Role: protocol.RoleDevice, Name: fmt.Sprintf("device-%d", i), ClientID: uint64(i)}
}

func TestEveryDecisionIsKeptOnceAndInOrder(t *testing.T) {
	const n = 3000
	r := newRig(t)
	r.stream()
	var kept atomic.Int64
	tr := trail.New(trail.Options{Kept: func(n int) { kept.Add(int64(n)) }})
	before := time.Now().Truncate(time.Millisecond)
	for i := range n {
		tr.Add(decision(i))
	}
	tr.Add(&audit.Record{Result: audit.Refused, Reason: refusal.Expired, Name: "late"})
	r.run(tr)
	r.flush(tr)
	lines, messages := r.kept()
	if len(lines) != n+1 || kept.Load() != n+1 || tr.Pending() != 0 {
		t.Fatalf("%d lines, %d said to be kept, %d pending", len(lines), kept.Load(), tr.Pending())
	}
	for i, l := range lines[:n] {
		if l.ClientID != uint64(i) || l.Result != "admitted" || l.Msg != "admission" || l.Time.Before(before) {
			t.Fatalf("line %d is %+v", i, l)
		}
	}
	if last := lines[n]; last.Result != "refused" || last.Reason != "expired" || last.Level != "WARN" {
		t.Errorf("got %+v", last)
	}
	if messages > n/10 {
		t.Errorf("%d messages for %d decisions: they are not sent together", messages, n)
	}
}

// A fleet comes back one by one. What is decided about it goes to the broker together
// all the same, and nothing that was waiting for others to come is lost with the
// connection.
func TestDecisionsThatComeOneByOneShareMessages(t *testing.T) {
	const n = 200
	r := newRig(t)
	r.stream()
	tr := trail.New(trail.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx, r.nc, nil) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range n {
		tr.Add(decision(i))
		<-tick.C
	}
	cancel()
	r.must(<-ended)
	r.run(tr)
	r.flush(tr)
	lines, messages := r.kept()
	for i, l := range lines {
		if l.ClientID != uint64(i) {
			t.Fatalf("line %d is of decision %d", i, l.ClientID)
		}
	}
	if len(lines) != n || messages > n/4 {
		t.Errorf("%d lines in %d messages, want %d in %d at most", len(lines), messages, n, n/4)
	}
}

// Decisions that are made while the broker is away, or has no stream, wait for it.
func TestDecisionsWaitForTheBroker(t *testing.T) {
	r := newRig(t)
	log := new(strings.Builder)
	tr := trail.New(trail.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	tr.Add(decision(1))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx, r.nc, nil) }()
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := tr.Flush(short); err == nil {
		t.Error("a decision is kept without a stream")
	}
	cancel()
	r.must(<-ended)

	// Another connection goes on where the last one was.
	r.run(tr)
	r.stream()
	r.flush(tr)
	r.stop()
	tr.Add(decision(2))
	r.start()
	tr.Add(decision(3))
	r.flush(tr)
	lines, _ := r.kept()
	for i, l := range lines {
		if l.ClientID != uint64(i+1) {
			t.Errorf("line %d is of decision %d", i, l.ClientID)
		}
	}
	if len(lines) != 3 {
		t.Errorf("%d lines, want 3", len(lines))
	}
}

func TestFullQueueLosesAndSaysSo(t *testing.T) {
	var lost atomic.Int64
	tr := trail.New(trail.Options{Queue: 10, Lost: func(n int) { lost.Add(int64(n)) }})
	for i := range 25 {
		tr.Add(decision(i))
	}
	if lost.Load() != 15 || tr.Pending() != 10 {
		t.Errorf("%d lost, %d pending, want 15 and 10", lost.Load(), tr.Pending())
	}
}

func BenchmarkAdd(b *testing.B) {
	tr := trail.New(trail.Options{})
	record := decision(1)
	b.ReportAllocs()
	for b.Loop() {
		tr.Add(record)
	}
}
