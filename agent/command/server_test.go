package command

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatrial/seatrial/agent/audit"
	"github.com/seatrial/seatrial/protocol"
)

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

const plain = `{"version":1}`

func TestSlowCommandsAreBoundedAndKeepNobodyWaiting(t *testing.T) {
	log := make(held)
	r := newRig(t, slog.New(log))
	for range workAtOnce {
		r.ask(protocol.VerbReconcile, plain)
		<-r.agent.begun
	}
	// What is quick has places of its own.
	r.ask(protocol.VerbPing, plain)
	if reply := r.next(); reply.Verb != protocol.VerbPing || reply.Error != "" || reply.Status != nil || reply.TokenID != "token-1" || reply.Revision != 7 {
		t.Errorf("a ping beside slow commands is answered %+v", reply)
	}
	r.ask(protocol.VerbInspect, `{"version":1,"workload":"web"}`)
	if reply := r.next(); reply.Error != "" || reply.Container == nil || reply.Container.Name != "web" {
		t.Errorf("an inspect beside slow commands is answered %+v", reply)
	}
	r.ask(protocol.VerbRestart, `{"version":1,"workload":"web"}`)
	close(log)
	if reply := r.next(); reply.Verb != protocol.VerbRestart || !strings.Contains(reply.Error, "too many") {
		t.Errorf("one too many is answered %+v", reply)
	}
	r.agent.let <- struct{}{}
	if reply := r.next(); reply.Error != "" || reply.Status == nil || !slices.Equal(reply.Changed, []string{"web"}) {
		t.Errorf("a reconcile is answered %+v", reply)
	}
	// Whoever has its answer may ask again, whatever is left to do about it here.
	r.ask(protocol.VerbRestart, `{"version":1,"workload":"web"}`)
	if reply := r.next(); reply.Verb != protocol.VerbRestart || reply.Error != "" {
		t.Errorf("the next one is answered %+v", reply)
	}
	// The end of the server ends what it carries out, and says so.
	r.stop()
	for range workAtOnce - 1 {
		if reply := r.next(); reply.Verb != protocol.VerbReconcile || reply.Error != errEnding.Error() {
			t.Errorf("a reconcile that was cut short is answered %+v", reply)
		}
	}
}

func TestCommandsAreWrittenDown(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbReconcile, plain)
	<-r.agent.begun
	if all := r.entries(); len(all) != 1 || all[0].Who != "alice" || all[0].Verb != "reconcile" || all[0].Outcome != "" {
		t.Errorf("while it is carried out: %+v", all)
	}
	r.agent.let <- struct{}{}
	r.next()
	r.ask(protocol.VerbRestart, plain)
	if reply := r.next(); !strings.Contains(reply.Error, "workload is missing") {
		t.Errorf("a restart of nothing is answered %+v", reply)
	}
	r.ask("explode", plain)
	if reply := r.next(); !strings.Contains(reply.Error, "not known") {
		t.Errorf("a command that is not known is answered %+v", reply)
	}
	var outcomes []string
	for _, entry := range r.entries() {
		outcomes = append(outcomes, entry.Verb+" "+entry.Outcome)
	}
	want := []string{"reconcile ", "reconcile " + audit.Done, "restart ", "restart " + audit.Refused, "explode ", "explode " + audit.Refused}
	if !slices.Equal(outcomes, want) {
		t.Errorf("written down is %q, want %q", outcomes, want)
	}
}

func TestNothingIsChangedThatCannotBeWrittenDown(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.audit.Close()
	r.ask(protocol.VerbRestart, `{"version":1,"workload":"web"}`)
	if reply := r.next(); reply.Error != errAudit.Error() {
		t.Errorf("a restart is answered %+v", reply)
	}
	r.ask(protocol.VerbPing, plain)
	if reply := r.next(); reply.Error != "" {
		t.Errorf("a ping is answered %+v", reply)
	}
}

func TestRetryIsAboutOneWorkload(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbRetry, `{"version":1,"workload":"web"}`)
	if reply := r.next(); reply.Verb != protocol.VerbRetry || reply.Error != "there is no workload web" {
		t.Errorf("a retry is answered %+v", reply)
	}
	r.ask(protocol.VerbRetry, plain)
	if reply := r.next(); !strings.Contains(reply.Error, "workload is missing") {
		t.Errorf("a retry of nothing is answered %+v", reply)
	}
}

func TestWipeComesAfterItsAnswer(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	r.ask(protocol.VerbRotate, plain)
	if reply := r.next(); reply.Error != errNoService.Error() {
		t.Errorf("a rotate is answered %+v", reply)
	}
	r.ask(protocol.VerbWipe, `{"version":1,"workload":"web"}`)
	if reply := r.next(); reply.Error == "" {
		t.Errorf("a wipe of one workload is answered %+v", reply)
	}
	select {
	case <-r.agent.wiped:
		t.Fatal("the device was wiped although the command was refused")
	default:
	}
	r.ask(protocol.VerbWipe, `{"version":1,"workloads":true}`)
	if reply := r.next(); reply.Error != "" {
		t.Errorf("a wipe is answered %+v", reply)
	}
	<-r.agent.wiped
}

// What does not come from an admin is neither answered nor written down: a device
// can have the broker send to another's commands, and would read the answer.
func TestStrangersAreIgnored(t *testing.T) {
	r := newRig(t, slog.New(slog.DiscardHandler))
	everything, err := r.admin.SubscribeSync("_INBOX*.>")
	if err == nil {
		err = r.admin.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, stranger := range []nats.Msg{
		{Reply: "_INBOX_device-2.x", Data: []byte(plain)},
		{Reply: "$KV.device-info.device-2", Data: []byte(plain)},
		{Reply: "_INBOX_ADMIN.alice", Data: []byte(plain)},
		{Data: []byte(plain)},
		{Reply: r.inbox},
		{Reply: r.inbox, Data: []byte(`{"stream":"KV_device-info","seq":1}`)},
		{Reply: r.inbox, Data: []byte(strings.Repeat(" ", protocol.MaxCommandSize) + plain)},
	} {
		stranger.Subject = protocol.CommandSubject("device-1", protocol.VerbPing)
		if err := r.admin.PublishMsg(&stranger); err != nil {
			t.Fatal(err)
		}
	}
	r.ask(protocol.VerbPing, plain)
	if reply := r.next(); reply.Error != "" {
		t.Errorf("a ping is answered %+v", reply)
	}
	if n, _, err := everything.Pending(); err != nil || n > 1 {
		t.Errorf("%d answers, %v", n, err)
	}
	if all := r.entries(); len(all) != 2 {
		t.Errorf("written down is %+v", all)
	}
}

// FuzzHandle looks for a payload or a reply subject that makes the server answer
// elsewhere than in an admin's inbox, or fall over.
func FuzzHandle(f *testing.F) {
	f.Add("ping", protocol.AdminInboxPrefix("alice")+".x", []byte(plain))
	f.Add("logs", protocol.AdminInboxPrefix("alice")+".x", []byte(`{"version":1,"workload":"web","tail":3}`))
	f.Add("restart", "_INBOX_device-2.x", []byte(`{"version":1,"workload":"web"}`))
	f.Add("", "", []byte(nil))
	f.Fuzz(func(t *testing.T, verb, reply string, payload []byte) {
		record, _, err := audit.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer record.Close()
		agent := newDouble()
		close(agent.lines)
		close(agent.let)
		agent.begun = make(chan struct{}, workAtOnce)
		out := new(outbox)
		s := NewServer("device-1", agent, out, record, slog.New(slog.DiscardHandler))
		s.Handle(&nats.Msg{Subject: protocol.CommandSubject("device-1", protocol.Verb(verb)), Reply: reply, Data: payload})
		s.running.Wait()
		for _, sent := range out.sent {
			answer, err := protocol.DecodeCommandReply(sent.Data)
			if err != nil || !protocol.IsAdminInbox(sent.Subject) || sent.Subject != reply || answer.Device != "device-1" {
				t.Fatalf("%q to %q was answered on %q with %s (%v)", payload, verb, sent.Subject, sent.Data, err)
			}
		}
		if _, err := protocol.DecodeCommandRequest(payload); len(out.sent) == 0 && err == nil && protocol.IsAdminInbox(reply) {
			t.Fatalf("%q to %q was not answered", payload, verb)
		}
	})
}

// outbox keeps what is sent.
type outbox struct{ sent []nats.Msg }

func (o *outbox) Publish(subject string, data []byte) error {
	o.sent = append(o.sent, nats.Msg{Subject: subject, Data: data})
	return nil
}

func (o *outbox) PublishRequest(subject, _ string, data []byte) error {
	return o.Publish(subject, data)
}
