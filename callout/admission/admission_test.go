package admission

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// fixed is a verifier that says the same of every token.
type fixed struct {
	token token.Token
	err   error
}

func (f fixed) Verify(context.Context, string) (*token.Token, error) { return &f.token, f.err }

func verified(subject string, roles ...string) fixed {
	return fixed{token: token.Token{KeyID: "k", ID: "j", Subject: subject, Roles: roles, Expires: time.Now().Add(time.Hour)}}
}

func TestAdmit(t *testing.T) {
	custom := Rules{Device: "edge", Admin: "root"}
	for name, row := range map[string]struct {
		rules    Rules
		verified fixed
		role     protocol.Role
		want     refusal.Reason
	}{
		"device":                      {Rules{}, verified("device-1", "device"), protocol.RoleDevice, ""},
		"device by its number":        {Rules{}, verified("335862139427", "device"), protocol.RoleDevice, ""},
		"admin":                       {Rules{}, verified("alice", "fleet-admin"), protocol.RoleAdmin, ""},
		"device with another role":    {Rules{}, verified("device-1", "billing", "device"), protocol.RoleDevice, ""},
		"both roles":                  {Rules{}, verified("device-1", "device", "fleet-admin"), "", refusal.RoleAmbiguous},
		"no role":                     {Rules{}, verified("device-1"), "", refusal.RoleNone},
		"another role":                {Rules{}, verified("device-1", "billing"), "", refusal.RoleNone},
		"role in capitals":            {Rules{}, verified("device-1", "Device"), "", refusal.RoleNone},
		"empty role":                  {Rules{}, verified("device-1", ""), "", refusal.RoleNone},
		"configured device":           {custom, verified("device-1", "edge"), protocol.RoleDevice, ""},
		"configured admin":            {custom, verified("alice", "root"), protocol.RoleAdmin, ""},
		"default where another is":    {custom, verified("device-1", "device"), "", refusal.RoleNone},
		"device with a dot":           {Rules{}, verified("device.1", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is a wildcard":   {Rules{}, verified("*", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is everything":   {Rules{}, verified(">", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device in capitals":          {Rules{}, verified("ADMIN", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is too long":     {Rules{}, verified(strings.Repeat("a", 64), "device"), protocol.RoleDevice, refusal.InvalidID},
		"device without a name":       {Rules{}, verified("", "device"), protocol.RoleDevice, refusal.InvalidID},
		"admin that is a wildcard":    {Rules{}, verified("*", "fleet-admin"), protocol.RoleAdmin, refusal.InvalidID},
		"admin with a line break":     {Rules{}, verified("a\r\nSUB >", "fleet-admin"), protocol.RoleAdmin, refusal.InvalidID},
		"token that is not accepted":  {Rules{}, fixed{token: token.Token{KeyID: "k"}, err: refusal.New(refusal.Expired, "x")}, "", refusal.Expired},
		"verifier that fails somehow": {Rules{}, fixed{err: errors.New("x")}, "", refusal.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := New(row.verified, row.rules).Admit(t.Context(), "raw")
			if got := refusal.ReasonOf(err); got != row.want {
				t.Fatalf("got %v, want reason %q", err, row.want)
			}
			if g.Role != row.role || g.KeyID != row.verified.token.KeyID || g.TokenID != row.verified.token.ID {
				t.Errorf("got %+v", g)
			}
			if err != nil {
				if g.Account != "" || g.Permissions.Publish != nil || g.Permissions.Subscribe != nil || !g.Expires.IsZero() {
					t.Errorf("refused, but granted %+v", g)
				}
				return
			}
			want := protocol.DevicePermissions(protocol.DeviceID(g.Name))
			if row.role == protocol.RoleAdmin {
				want = protocol.AdminPermissions(g.Name)
			}
			if g.Account != protocol.AccountDevices || g.Name != row.verified.token.Subject ||
				!slices.Equal(g.Permissions.Publish, want.Publish) || !slices.Equal(g.Permissions.Subscribe, want.Subscribe) {
				t.Errorf("granted %+v", g)
			}
			if !g.Expires.Equal(row.verified.token.Expires) {
				t.Errorf("expires at %s, the token at %s", g.Expires, row.verified.token.Expires)
			}
		})
	}
}

func TestExpiryIsNeverLaterAndLittleEarlier(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		left := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(24*time.Hour)).Draw(t, "left"))
		jitter := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "jitter"))
		a := New(nil, Rules{ExpiryJitter: jitter})
		a.now = func() time.Time { return now }
		end := now.Add(left)
		got := a.expiry(end)
		if got.After(end) || end.Sub(got) > jitter || (left > 0 && end.Sub(got) > left/10) {
			t.Fatalf("%s before the end, with %s left and a jitter of %s", end.Sub(got), left, jitter)
		}
	})
}

func TestExpiryIsSpread(t *testing.T) {
	a := New(nil, Rules{ExpiryJitter: 30 * time.Second})
	end := time.Now().Add(time.Hour)
	seconds := make(map[int64]bool)
	for range 1000 {
		seconds[a.expiry(end).Unix()] = true
	}
	// 1000 draws from 30 seconds miss more than ten with a chance below 1e-100.
	if len(seconds) < 20 {
		t.Errorf("1000 grants expire in %d different seconds", len(seconds))
	}
}
