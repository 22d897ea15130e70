package service

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/seatrial/seatrial/protocol"
)

// A JWT is what jwt's own Encode makes of the same claims, but for the id.
func TestSignIsEncodeWithoutAnID(t *testing.T) {
	a := newAsking(t)
	authority, err := NewAuthority(a.account.seed, nil)
	if err != nil {
		t.Fatal(err)
	}
	user := func() *jwt.UserClaims {
		c := jwt.NewUserClaims(a.user.public)
		c.Name, c.Audience, c.Expires = `<device & "1">`, protocol.AccountDevices, time.Now().Add(time.Hour).Unix()
		c.Pub.Allow = protocol.DevicePermissions("device-1").Publish
		c.Type = jwt.UserClaim
		return c
	}
	answer := func() *jwt.AuthorizationResponseClaims {
		c := jwt.NewAuthorizationResponseClaims(a.user.public)
		c.Audience, c.Error = a.server.public, "no\n\xff"
		c.Type = jwt.AuthorizationResponseClaim
		return c
	}
	signing := func(claims jwt.Claims, fields *jwt.GenericFields) []byte {
		t.Helper()
		token, err := authority.sign(claims, claims.Claims(), fields)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	encoding := func(claims jwt.Claims) string {
		t.Helper()
		token, err := claims.Encode(a.account)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	u, w := user(), answer()
	for name, pair := range map[string][2]string{
		"user":   {string(signing(u, &u.GenericFields)), encoding(user())},
		"answer": {string(signing(w, &w.GenericFields)), encoding(answer())},
	} {
		var decoded [2]jwt.Claims
		for i, token := range pair {
			// This checks the signature, too.
			if decoded[i], err = jwt.Decode(token); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			data := decoded[i].Claims()
			if age := time.Now().Unix() - data.IssuedAt; age < 0 || age > 60 {
				t.Errorf("%s: issued %d s ago", name, age)
			}
			data.ID, data.IssuedAt = "", 0
		}
		if !reflect.DeepEqual(decoded[0], decoded[1]) {
			t.Errorf("%s: got %+v, want %+v", name, decoded[0], decoded[1])
		}
		if got, want := strings.Split(pair[0], ".")[0], strings.Split(pair[1], ".")[0]; got != want {
			t.Errorf("%s: header %s, want %s", name, got, want)
		}
	}
}
