package service

import (
	"context"
	"slices"
	"strings"
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

func TestOpenRefusesWhatNoServerSends(t *testing.T) {
	a := newAsking(t)
	other := newPair(t, nkeys.PrefixByteServer)
	changed := func(change func(*jwt.AuthorizationRequestClaims)) *nats.Msg {
		c := a.claims()
		change(c)
		return a.message(t, c, a.server)
	}
	good := a.message(t, a.claims(), a.server)
	silent := a.message(t, a.claims(), a.server)
	silent.Reply = ""
	foreign := a.seal(t, good)
	foreign.Header.Set(headerServerXKey, newPair(t, nkeys.PrefixByteCurve).public)
	user, err := jwt.NewUserClaims(a.user.public).Encode(a.account)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		msg    *nats.Msg
		sealed bool
		want   refusal.Reason
	}{
		"good":                        {good, false, ""},
		"good and encrypted":          {a.seal(t, good), true, ""},
		"other audience":              {changed(func(c *jwt.AuthorizationRequestClaims) { c.Audience = "x" }), false, refusal.BadRequest},
		"other server's id":           {changed(func(c *jwt.AuthorizationRequestClaims) { c.Server.ID = other.public }), false, refusal.BadRequest},
		"signed by no server":         {changed(func(c *jwt.AuthorizationRequestClaims) { c.Server.ID = "" }), false, refusal.BadRequest},
		"four parts":                  {&nats.Msg{Reply: "x", Data: append(slices.Clone(good.Data), ".x"...)}, false, refusal.BadRequest},
		"signed by another server":    {a.message(t, a.claims(), other), false, refusal.BadRequest},
		"for another account's key":   {changed(func(c *jwt.AuthorizationRequestClaims) { c.Subject = newPair(t, nkeys.PrefixByteAccount).public }), false, refusal.BadRequest},
		"without a user key":          {changed(func(c *jwt.AuthorizationRequestClaims) { c.UserNkey = "" }), false, refusal.BadRequest},
		"account's key as user's":     {changed(func(c *jwt.AuthorizationRequestClaims) { c.UserNkey = a.account.public }), false, refusal.BadRequest},
		"without a reply":             {silent, false, refusal.BadRequest},
		"a user JWT":                  {&nats.Msg{Reply: "x", Data: []byte(user)}, false, refusal.BadRequest},
		"nothing":                     {&nats.Msg{Reply: "x"}, false, refusal.BadRequest},
		"garbage":                     {&nats.Msg{Reply: "x", Data: []byte("eyJ0.eyJ0.eyJ0")}, false, refusal.BadRequest},
		"encrypted without a key":     {a.seal(t, good), false, refusal.BadRequest},
		"plain although a key is set": {good, true, refusal.BadRequest},
		"sender's key is another's":   {foreign, true, refusal.BadRequest},
		"sender's key is not one":     {&nats.Msg{Reply: "x", Data: []byte("x"), Header: nats.Header{headerServerXKey: {"x"}}}, true, refusal.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			var curve []byte
			if row.sealed {
				curve = a.own.seed
			}
			authority, err := NewAuthority(a.account.seed, curve)
			if err != nil {
				t.Fatal(err)
			}
			request, err := authority.open(row.msg)
			if got := refusal.ReasonOf(err); got != row.want {
				t.Fatalf("got %v, want reason %q", err, row.want)
			}
			if err == nil && request.ConnectOptions.Token != "token" {
				t.Errorf("got %+v", request)
			}
		})
	}
}

func TestGrantIsWhatTheServerExpects(t *testing.T) {
	a := newAsking(t)
	authority, err := NewAuthority(a.account.seed, a.own.seed)
	if err != nil {
		t.Fatal(err)
	}
	request, err := authority.open(a.seal(t, a.message(t, a.claims(), a.server)))
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Hour)
	data, err := authority.grant(request, &admission.Grant{
		Name: "device-1", Account: protocol.AccountDevices, Permissions: protocol.DevicePermissions("device-1"), Expires: end, TokenID: "V2_Abc",
	})
	if err != nil {
		t.Fatal(err)
	}
	if data, err = a.curve.Open(data, a.own.public); err != nil {
		t.Fatalf("the answer is not encrypted for the server: %v", err)
	}
	answer, err := jwt.DecodeAuthorizationResponseClaims(string(data))
	if err != nil {
		t.Fatal(err)
	}
	var found jwt.ValidationResults
	answer.Validate(&found)
	if len(found.Issues) > 0 || answer.Audience != a.server.public || answer.Subject != a.user.public || answer.Issuer != a.account.public || answer.Error != "" {
		t.Errorf("answer: %v %+v", found.Issues, answer)
	}
	user, err := jwt.DecodeUserClaims(answer.Jwt)
	if err != nil {
		t.Fatal(err)
	}
	user.Validate(&found)
	want := protocol.DevicePermissions("device-1")
	if len(found.Issues) > 0 || user.Subject != a.user.public || user.Audience != protocol.AccountDevices || user.Name != "device-1" || user.Expires != end.Unix() ||
		!slices.Equal(user.Permissions.Pub.Allow, want.Publish) || !slices.Equal(user.Permissions.Sub.Allow, want.Subscribe) || user.Permissions.Resp != nil {
		t.Errorf("user: %v %+v", found.Issues, user)
	}
}

func TestNewAuthorityRefusesOtherSeeds(t *testing.T) {
	account, user := newPair(t, nkeys.PrefixByteAccount), newPair(t, nkeys.PrefixByteUser)
	for name, seeds := range map[string][2][]byte{
		"user's for the account": {user.seed, nil}, "none": {nil, nil}, "public": {[]byte(account.public), nil}, "account's for the curve": {account.seed, account.seed},
	} {
		if _, err := NewAuthority(seeds[0], seeds[1]); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), string(user.seed)) {
			t.Errorf("%s: the error holds the seed", name)
		}
	}
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
			s, records := one(t, a, Options{Admission: row.admission, Budget: 50 * time.Millisecond})
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

func FuzzOpen(f *testing.F) {
	a := newAsking(f)
	plain, err := NewAuthority(a.account.seed, nil)
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := NewAuthority(a.account.seed, a.own.seed)
	if err != nil {
		f.Fatal(err)
	}
	good := a.message(f, a.claims(), a.server)
	f.Add(good.Data, "")
	f.Add(a.seal(f, good).Data, a.curve.public)
	f.Add([]byte("a.b.c"), "X")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		msg := &nats.Msg{Reply: "x", Data: data, Header: nats.Header{}}
		if key != "" {
			msg.Header.Set(headerServerXKey, key)
		}
		for _, authority := range []*Authority{plain, sealed} {
			request, err := authority.open(msg)
			if (request == nil) != (err != nil) || (err != nil && refusal.ReasonOf(err) != refusal.BadRequest) {
				t.Errorf("got %v, %v", request, err)
			}
		}
	})
}
