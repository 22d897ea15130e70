package callout_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

// denied says whether a device was treated so because it is on the deny list.
func (d *decision) denied(id protocol.DeviceID, result string) bool {
	return d.Name == string(id) && d.Reason == string(refusal.Denied) && d.Result == result
}

// deny puts a device on the deny list, admit takes it off.
func (f *fleet) deny(tb testing.TB, id protocol.DeviceID) {
	tb.Helper()
	denial := &protocol.Denial{Version: protocol.Version, Device: id, By: "a test", Reason: "it was stolen", Time: time.Now()}
	data, err := denial.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	f.write(tb, &nats.Msg{Subject: protocol.BucketDenied.Subject(id), Data: data})
}

func (f *fleet) admit(tb testing.TB, id protocol.DeviceID) {
	tb.Helper()
	f.write(tb, &nats.Msg{Subject: protocol.BucketDenied.Subject(id), Header: nats.Header{"KV-Operation": {"DEL"}}})
}

func (f *fleet) write(tb testing.TB, msg *nats.Msg) {
	tb.Helper()
	operator := f.connectNKey(tb, f.operator)
	defer operator.Close()
	js, err := jetstream.New(operator)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), deadline)
	defer cancel()
	if _, err := js.PublishMsg(ctx, msg); err != nil {
		tb.Fatal(err)
	}
}

// stubborn is a device that comes back for as long as the test lasts.
type stubborn struct {
	*nats.Conn
	gone, refused, back atomic.Int64
}

func (f *fleet) stubborn(tb testing.TB, id protocol.DeviceID) *stubborn {
	tb.Helper()
	d := new(stubborn)
	nc, err := nats.Connect(f.url,
		nats.TokenHandler(func() string { return f.issuer.Token(tb, string(id), string(protocol.RoleDevice), nil) }),
		nats.CustomInboxPrefix(protocol.InboxPrefix(id)), nats.Timeout(5*time.Second), nats.MaxReconnects(-1),
		nats.ReconnectWait(20*time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				d.gone.Add(1)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { d.back.Add(1) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if strings.Contains(strings.ToLower(err.Error()), "authorization") {
				d.refused.Add(1)
			}
		}))
	if err != nil {
		tb.Fatal(err)
	}
	d.Conn = nc
	tb.Cleanup(nc.Close)
	return d
}

// The promise: out within a second, out for as long as it is on the list, and
// back by itself. The time is logged; what is asked for is that it happens.
func TestDeniedDeviceIsThrownOutStaysOutAndComesBack(t *testing.T) {
	f := newFleet(t)
	log := new(lines)
	c := startCallout(t, f.config(t, ""), log)
	c.waitReady(t)
	victim, other := f.stubborn(t, deviceA), f.stubborn(t, deviceB)

	start := time.Now()
	f.deny(t, deviceA)
	eventually(t, "it is thrown out", func() bool { return victim.gone.Load() > 0 })
	t.Logf("thrown out after %s", time.Since(start))
	eventually(t, "it is refused again and again", func() bool { return victim.refused.Load() > 5 })
	if victim.back.Load() > 0 {
		t.Error("it was admitted again")
	}
	if !slices.ContainsFunc(log.decisions(t), func(d decision) bool { return d.denied(deviceA, "refused") }) {
		t.Error("its refusal is not on record")
	}
	// The server answers that it closed a connection after it did.
	eventually(t, "that it was thrown out is on record", func() bool {
		return slices.ContainsFunc(log.decisions(t), func(d decision) bool { return d.denied(deviceA, "expelled") })
	})
	if _, page := c.get(t, "/metrics"); !strings.Contains(page, "fleet_callout_denied_names 1\n") || strings.Contains(page, "fleet_callout_expelled_total 0\n") {
		t.Error("the metrics do not tell")
	}

	f.admit(t, deviceA)
	eventually(t, "it is back by itself", func() bool { return victim.back.Load() > 0 })
	if other.gone.Load() > 0 {
		t.Error("another device was thrown out")
	}
}

func TestDeviceStaysOutWhenCalloutAndBrokerAreNew(t *testing.T) {
	f := newFleet(t)
	first := f.ready(t, "")
	victim := f.stubborn(t, deviceA)
	f.deny(t, deviceA)
	eventually(t, "it is thrown out", func() bool { return victim.gone.Load() > 0 })

	first.stop()
	f.ready(t, "")
	f.device(t, deviceB)
	before := victim.refused.Load()
	eventually(t, "the new callout refuses it", func() bool { return victim.refused.Load() > before+3 })

	f.stopBroker()
	f.startBroker(t)
	f.stubbornly(t, deviceB)
	before = victim.refused.Load()
	eventually(t, "it is refused at the new broker", func() bool { return victim.refused.Load() > before+3 })
	if victim.back.Load() > 0 {
		t.Error("it was admitted again")
	}
	f.admit(t, deviceA)
	eventually(t, "it is back by itself", func() bool { return victim.back.Load() > 0 })
}

// stubbornly connects a device, however often that takes.
func (f *fleet) stubbornly(tb testing.TB, id protocol.DeviceID) {
	tb.Helper()
	token := f.issuer.Token(tb, string(id), string(protocol.RoleDevice), nil)
	eventually(tb, string(id)+" is admitted", func() bool {
		nc, err := nats.Connect(f.url, nats.Token(token), nats.Timeout(5*time.Second))
		if err == nil {
			nc.Close()
		}
		return err == nil
	})
}

// Whoever was denied while no callout ran has its connection closed by the next.
func TestDeniedWhileNobodyWatched(t *testing.T) {
	f := newFleet(t)
	first := f.ready(t, "")
	victim := f.stubborn(t, deviceA)
	first.stop()
	f.deny(t, deviceA)
	f.ready(t, "")
	eventually(t, "it is thrown out", func() bool { return victim.gone.Load() > 0 })
	eventually(t, "it is refused", func() bool { return victim.refused.Load() > 3 })
	if victim.back.Load() > 0 {
		t.Error("it was admitted again")
	}
}

// A callout that cannot know who is denied admits nobody.
func TestNobodyIsAdmittedBeforeTheListIsKnown(t *testing.T) {
	f := newFleet(t)
	operator := f.connectNKey(t, f.operator)
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), protocol.BucketDenied.Stream()); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	c := startCallout(t, f.config(t, ""), log)
	eventually(t, "it says what is missing", func() bool {
		_, text := c.get(t, "/readyz")
		return strings.Contains(text, "deny list") && strings.Contains(log.String(), "is bucket")
	})
	if f.tryUnanswered(t, nats.Token(f.issuer.Token(t, string(deviceA), "device", nil))) {
		t.Error("admitted by a callout that does not know the deny list")
	}
	createBuckets(t, operator)
	c.waitReady(t)
	f.device(t, deviceA)
}

// An admin, and whoever else has a name, is thrown out as a device is.
func TestDeniedAdminIsThrownOut(t *testing.T) {
	f := newFleet(t)
	f.ready(t, "")
	admin := f.fleetAdmin(t, "mallory")
	f.deny(t, "mallory")
	eventually(t, "the admin is thrown out", func() bool { return !admin.IsConnected() })
}

// All that the callout's user may do beyond its own account.
func TestWhatTheCalloutMayDo(t *testing.T) {
	f := newFleet(t)
	f.ready(t, "")
	caller := f.connectNKey(t, f.caller)
	asks := func(subject string, within time.Duration) bool {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		msg, err := caller.RequestWithContext(ctx, subject, []byte(`{}`))
		// JetStream tells everybody that it is not for them.
		return err == nil && msg.Header.Get("Status") != "503" && !strings.Contains(string(msg.Data), `"err_code":10039`)
	}
	server := f.broker.ID()
	for _, subject := range []string{
		protocol.ConnectionsSubject(protocol.AccountDevices), protocol.ConnectionsSubject(protocol.AccountState), protocol.KickSubject(server),
	} {
		if !asks(subject, deadline) {
			t.Errorf("it gets no answer on %s", subject)
		}
	}
	if msg, err := caller.Request(protocol.BucketDenied.DirectNext(), []byte(`{"seq":1}`), deadline); err != nil || msg.Header.Get("Status") != "404" {
		t.Errorf("it cannot read the deny list: %v, %v", msg, err)
	}
	refused := []string{
		"$SYS.REQ.SERVER." + server + ".RELOAD", "$SYS.REQ.SERVER." + server + ".LDM", "$SYS.REQ.SERVER." + server + ".VARZ",
		"$SYS.REQ.SERVER.PING.VARZ", protocol.ConnectionsSubject(protocol.AccountSystem), "$SYS.REQ.ACCOUNT." + protocol.AccountDevices + ".INFO",
		protocol.BucketDenied.Subject(deviceA), protocol.BucketDesired.Subject(deviceA), protocol.BucketDesired.DirectGet(deviceA),
		protocol.BucketDesired.DirectNext(), "$JS.API.STREAM.INFO." + protocol.BucketDenied.Stream(), "$JS.API.STREAM.PURGE." + protocol.BucketDenied.Stream(),
	}
	for _, subject := range refused {
		if asks(subject, time.Second) {
			t.Errorf("it is answered on %s", subject)
		}
	}
	// What it may not do, no device or admin may either.
	shared := []string{protocol.KickSubject(server), protocol.ConnectionsSubject(protocol.AccountState), protocol.BucketDenied.DirectNext()}
	for _, c := range []*client{f.device(t, deviceA), f.fleetAdmin(t, "admin")} {
		for _, subject := range shared {
			if err := c.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
			c.violation(t, "Publish to", subject)
		}
	}
}

// However long the list is, all of it counts.
func TestLongList(t *testing.T) {
	const names = 1100
	f := newFleet(t)
	operator := f.connectNKey(t, f.operator)
	js, err := jetstream.New(operator)
	if err != nil {
		t.Fatal(err)
	}
	var last protocol.DeviceID
	for i := range names {
		last = protocol.DeviceID(fmt.Sprintf("gone-%d", i))
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: protocol.BucketDenied.Subject(last), Data: []byte("not even a document")}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(deadline):
		t.Fatal("the list was not written")
	}
	c := startCallout(t, f.config(t, ""), io.Discard)
	c.waitReady(t)
	if _, page := c.get(t, "/metrics"); !slices.Contains(strings.Split(page, "\n"), "fleet_callout_denied_names 1100") {
		t.Error("not all names are on the list")
	}
	if f.try(t, nats.Token(f.issuer.Token(t, string(last), "device", nil))) {
		t.Error("the last on the list was admitted")
	}
}

// What was decided is in the audit stream, too, also of a callout that is asked to
// stop.
func TestDecisionsAreInTheAuditStream(t *testing.T) {
	f := newFleet(t)
	c := f.ready(t, "")
	f.device(t, deviceA)
	if f.try(t, nats.Token(f.issuer.Token(t, string(deviceB), "billing", nil))) {
		t.Error("admitted without a role")
	}
	c.stop()
	js, err := jetstream.New(f.connectNKey(t, f.operator))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), protocol.AuditStream)
	if err != nil {
		t.Fatal(err)
	}
	kept := new(lines)
	for sequence := range stream.CachedInfo().State.LastSeq {
		msg, err := stream.GetMsg(t.Context(), sequence+1)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = kept.Write(msg.Data)
	}
	all := kept.decisions(t)
	if len(all) != 2 || all[0].Result != "admitted" || all[0].Name != string(deviceA) || all[1].Reason != string(refusal.RoleNone) {
		t.Errorf("kept is %+v", all)
	}
}
