package service

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/audit"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type pair struct {
	nkeys.KeyPair
	public string
	seed   []byte
}

func newPair(t testing.TB, prefix nkeys.PrefixByte) pair {
	t.Helper()
	kp, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair{kp, public, seed}
}

// asking is a server that makes requests.
type asking struct {
	account, server, curve, own, user pair
}

func newAsking(t testing.TB) *asking {
	return &asking{
		account: newPair(t, nkeys.PrefixByteAccount), server: newPair(t, nkeys.PrefixByteServer), user: newPair(t, nkeys.PrefixByteUser),
		curve: newPair(t, nkeys.PrefixByteCurve), own: newPair(t, nkeys.PrefixByteCurve),
	}
}

func (a *asking) claims() *jwt.AuthorizationRequestClaims {
	c := jwt.NewAuthorizationRequestClaims(a.account.public)
	c.Audience = requestAudience
	c.UserNkey = a.user.public
	c.Server = jwt.ServerID{Name: "broker", ID: a.server.public, XKey: a.curve.public}
	c.Expires = time.Now().Add(2 * time.Second).Unix()
	c.ClientInformation = jwt.ClientInformation{Host: "192.0.2.1", Name: "agent", ID: 7}
	c.ConnectOptions.Token = "token"
	return c
}

func (a *asking) message(t testing.TB, c *jwt.AuthorizationRequestClaims, signer nkeys.KeyPair) *nats.Msg {
	t.Helper()
	data, err := c.Encode(signer)
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: subject, Reply: "_INBOX.x", Data: []byte(data)}
}

func (a *asking) seal(t testing.TB, msg *nats.Msg) *nats.Msg {
	t.Helper()
	data, err := a.curve.Seal(msg.Data, a.own.public)
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: msg.Subject, Reply: msg.Reply, Data: data, Header: nats.Header{headerServerXKey: {a.curve.public}}}
}

// admit is an admission by a function.
type admit func(context.Context, string) (admission.Grant, error)

func (a admit) Admit(ctx context.Context, raw string) (admission.Grant, error) { return a(ctx, raw) }

// one is a service that is not connected, and the records it makes.
func one(t *testing.T, a *asking, o Options) (*Service, *[]audit.Record) {
	t.Helper()
	authority, err := NewAuthority(a.account.seed, nil)
	if err != nil {
		t.Fatal(err)
	}
	records := new([]audit.Record)
	o.Authority = authority
	o.Record = func(_ context.Context, r *audit.Record) { *records = append(*records, *r) }
	return New(o), records
}

func TestDropped(t *testing.T) {
	a := newAsking(t)
	late := a.claims()
	late.Expires = time.Now().Add(-2 * time.Second).Unix()
	never := admit(func(context.Context, string) (admission.Grant, error) {
		t.Error("the admission was asked")
		return admission.Grant{}, refusal.New(refusal.Internal, "asked")
	})
	for name, row := range map[string]struct {
		msg       *nats.Msg
		arrived   time.Duration
		admission Admission
		want      refusal.Reason
	}{
		"waited too long":      {a.message(t, a.claims(), a.server), -time.Minute, never, refusal.Stale},
		"the server gave up":   {a.message(t, late, a.server), 0, never, refusal.Stale},
		"not a request":        {&nats.Msg{Data: []byte("x")}, 0, never, refusal.BadRequest},
		"the admission panics": {a.message(t, a.claims(), a.server), 0, admit(func(context.Context, string) (admission.Grant, error) { panic("x") }), refusal.Internal},
		"granted, but too late": {a.message(t, a.claims(), a.server), 0, admit(func(ctx context.Context, _ string) (admission.Grant, error) {
			<-ctx.Done()
			return admission.Grant{Name: "d"}, nil
		}), refusal.Stale},
		"refused, but too late": {a.message(t, a.claims(), a.server), 0, admit(func(ctx context.Context, _ string) (admission.Grant, error) {
			<-ctx.Done()
			return admission.Grant{}, refusal.New(refusal.KeysUnavailable, "x")
		}), refusal.KeysUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, records := one(t, a, Options{Admission: row.admission, Budget: 250 * time.Millisecond})
			s.handle(request{msg: row.msg, arrived: time.Now().Add(row.arrived)})
			if len(*records) != 1 {
				t.Fatalf("%d records", len(*records))
			}
			if r := (*records)[0]; r.Result != audit.Dropped || r.Reason != row.want || r.Detail == "" || !r.Expires.IsZero() || r.Latency <= 0 {
				t.Errorf("got %+v, want dropped for %s", r, row.want)
			}
		})
	}
}

// The deny list has the last word.
func TestDenied(t *testing.T) {
	a := newAsking(t)
	good := admit(func(context.Context, string) (admission.Grant, error) {
		return admission.Grant{Name: "d", Account: protocol.AccountDevices, Permissions: protocol.DevicePermissions("d"), Expires: time.Now().Add(time.Hour)}, nil
	})
	bad := admit(func(context.Context, string) (admission.Grant, error) {
		return admission.Grant{}, refusal.New(refusal.Expired, "x")
	})
	for name, row := range map[string]struct {
		admission Admission
		denied    func(string) bool
		result    audit.Result
		reason    refusal.Reason
	}{
		"good":                 {good, func(string) bool { return false }, audit.Admitted, ""},
		"denied":               {good, func(name string) bool { return name == "d" }, audit.Refused, refusal.Denied},
		"refused, denied, too": {bad, func(string) bool { return true }, audit.Refused, refusal.Expired},
		"without a list":       {good, nil, audit.Admitted, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, records := one(t, a, Options{Admission: row.admission, Denied: row.denied})
			s.handle(request{msg: a.message(t, a.claims(), a.server), arrived: time.Now()})
			if r := (*records)[0]; len(*records) != 1 || r.Result != row.result || r.Reason != row.reason {
				t.Errorf("got %+v, want %s for %q", *records, row.result, row.reason)
			}
		})
	}
}

func TestFullQueueSheds(t *testing.T) {
	a := newAsking(t)
	s, records := one(t, a, Options{Queue: 3})
	for range 5 {
		s.take(a.message(t, a.claims(), a.server))
	}
	if s.Queued() != 3 || len(*records) != 2 {
		t.Fatalf("%d wait, %d records, want 3 and 2", s.Queued(), len(*records))
	}
	for _, r := range *records {
		if r.Result != audit.Dropped || r.Reason != refusal.Shed {
			t.Errorf("got %+v", r)
		}
	}
}

func TestBudgetIsNeverAboveTheContracts(t *testing.T) {
	for _, budget := range []time.Duration{0, time.Hour} {
		if got := New(Options{Budget: budget}).options.Budget; got != protocol.CalloutBudget {
			t.Errorf("a budget of %s became %s", budget, got)
		}
	}
}
