package service

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/protocol"
)

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
		"sender's key is too long":    {&nats.Msg{Reply: "x", Data: a.seal(t, good).Data, Header: nats.Header{headerServerXKey: {a.curve.public + "ZZ"}}}, true, refusal.BadRequest},
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
		!slices.Equal(user.Pub.Allow, want.Publish) || !slices.Equal(user.Sub.Allow, want.Subscribe) || user.Resp != nil {
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
