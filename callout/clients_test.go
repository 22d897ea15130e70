package callout_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatrial/seatrial/callout"
	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/protocol"
)

var discard = slog.New(slog.DiscardHandler)

// running is a callout that runs.
type running struct {
	address string
	stop    func()
}

// startCallout runs a callout as the program does; it ends with the test. It
// need not be ready yet.
func startCallout(tb testing.TB, c *config.Config, log io.Writer) *running {
	tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- callout.Run(ctx, c, slog.New(slog.NewJSONHandler(log, nil))) }()
	stopped := false
	r := &running{address: c.HTTPAddress}
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("run callout: %v", err)
			}
		case <-time.After(deadline):
			tb.Error("the callout did not stop")
		}
	}
	tb.Cleanup(r.stop)
	return r
}

// get returns status and body of a page of the callout.
func (r *running) get(tb testing.TB, path string) (int, string) {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + r.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (r *running) waitReady(tb testing.TB) {
	tb.Helper()
	eventually(tb, "the callout is ready", func() bool { status, _ := r.get(tb, "/readyz"); return status == http.StatusOK })
}

// ready starts a callout and waits for it.
func (f *fleet) ready(tb testing.TB, limits string) *running {
	tb.Helper()
	r := startCallout(tb, f.config(tb, limits), io.Discard)
	r.waitReady(tb)
	return r
}

// eventually polls until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(deadline); ; <-tick.C {
		if ok() {
			return
		}
		if time.Now().After(end) {
			tb.Fatalf("waited %s in vain: %s", deadline, what)
		}
	}
}

// connectNKey connects a user of the server's configuration.
func (f *fleet) connectNKey(tb testing.TB, k key, options ...nats.Option) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect(f.url, append([]nats.Option{nats.Nkey(k.public, k.pair.Sign), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.Timeout(deadline)}, options...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

// connect connects as subject with a token for role.
func (f *fleet) connect(tb testing.TB, subject, role, inbox string, options ...nats.Option) *client {
	tb.Helper()
	c := &client{errors: make(chan error, 64)}
	nc, err := nats.Connect(f.url, append([]nats.Option{
		nats.Name(subject),
		nats.Token(f.issuer.Token(tb, subject, role, nil)),
		nats.CustomInboxPrefix(inbox),
		nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { c.errors <- err }),
	}, options...)...)
	if err != nil {
		tb.Fatalf("connect as %s %s: %v", role, subject, err)
	}
	tb.Cleanup(nc.Close)
	c.Conn = nc
	return c
}

func (f *fleet) device(tb testing.TB, id protocol.DeviceID) *client {
	tb.Helper()
	return f.connect(tb, string(id), string(protocol.RoleDevice), protocol.InboxPrefix(id))
}

func (f *fleet) fleetAdmin(tb testing.TB, name string) *client {
	tb.Helper()
	return f.connect(tb, name, string(protocol.RoleAdmin), protocol.AdminInboxPrefix(name))
}

// client is a connection that keeps the errors the server sends.
type client struct {
	*nats.Conn
	errors chan error
}

// createBuckets makes the buckets and the audit stream as the operator.
func createBuckets(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), deadline)
	defer cancel()
	for _, s := range protocol.Streams() {
		c := jetstream.StreamConfig{
			Name: s.Name, Subjects: s.Subjects, MaxMsgsPerSubject: s.MaxMsgsPerSubject, MaxMsgSize: s.MaxMsgSize,
			AllowDirect: s.AllowDirect, AllowRollup: s.AllowRollup, DenyDelete: s.DenyDelete, DenyPurge: s.DenyPurge,
			MaxAge: s.MaxAge, MaxBytes: s.MaxBytes, MaxMsgs: s.MaxMsgs, Discard: jetstream.DiscardOld,
		}
		if s.DiscardNew {
			c.Discard = jetstream.DiscardNew
		}
		if s.RepublishSource != "" {
			c.RePublish = &jetstream.RePublish{Source: s.RepublishSource, Destination: s.RepublishDestination, HeadersOnly: true}
		}
		if _, err := js.CreateStream(ctx, c); err != nil {
			tb.Fatalf("create stream %s: %v", s.Name, err)
		}
	}
	return js
}
