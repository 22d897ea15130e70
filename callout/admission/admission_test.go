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
	"github.com/seatrial/seatrial/callout/rules"
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
	custom := Options{Rules: rules.Builtin("edge", "root")}
	four, found := rules.New([]rules.Rule{
		{Name: "d", Role: "device", Template: protocol.TemplateDevice, Account: protocol.AccountDevices, ID: "serial"},
		{Name: "a", Role: "fleet-admin", Template: protocol.TemplateAdmin, Account: protocol.AccountDevices, ID: "sub"},
		{Name: "o", Role: "watch", Template: protocol.TemplateObserver, Account: protocol.AccountDevices, ID: "sub"},
		{Name: "s", Role: "export", Template: protocol.TemplateService, Account: protocol.AccountState, ID: "sub"},
	})
	if len(found) > 0 {
		t.Fatal(found)
	}
	file := Options{Rules: four}
	serial := func(value any) fixed {
		f := verified("335862139427", "device")
		f.token.Claims = map[string]any{"serial": value}
		return f
	}
	for name, row := range map[string]struct {
		rules    Options
		verified fixed
		role     protocol.Role
		want     refusal.Reason
	}{
		"device":                      {Options{}, verified("device-1", "device"), protocol.RoleDevice, ""},
		"device by its number":        {Options{}, verified("335862139427", "device"), protocol.RoleDevice, ""},
		"admin":                       {Options{}, verified("alice", "fleet-admin"), protocol.RoleAdmin, ""},
		"device with another role":    {Options{}, verified("device-1", "billing", "device"), protocol.RoleDevice, ""},
		"both roles":                  {Options{}, verified("device-1", "device", "fleet-admin"), "", refusal.RoleAmbiguous},
		"no role":                     {Options{}, verified("device-1"), "", refusal.RoleNone},
		"another role":                {Options{}, verified("device-1", "billing"), "", refusal.RoleNone},
		"role in capitals":            {Options{}, verified("device-1", "Device"), "", refusal.RoleNone},
		"empty role":                  {Options{}, verified("device-1", ""), "", refusal.RoleNone},
		"configured device":           {custom, verified("device-1", "edge"), protocol.RoleDevice, ""},
		"configured admin":            {custom, verified("alice", "root"), protocol.RoleAdmin, ""},
		"default where another is":    {custom, verified("device-1", "device"), "", refusal.RoleNone},
		"device with a dot":           {Options{}, verified("device.1", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is a wildcard":   {Options{}, verified("*", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is everything":   {Options{}, verified(">", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device in capitals":          {Options{}, verified("ADMIN", "device"), protocol.RoleDevice, refusal.InvalidID},
		"device that is too long":     {Options{}, verified(strings.Repeat("a", 64), "device"), protocol.RoleDevice, refusal.InvalidID},
		"device without a name":       {Options{}, verified("", "device"), protocol.RoleDevice, refusal.InvalidID},
		"admin that is a wildcard":    {Options{}, verified("*", "fleet-admin"), protocol.RoleAdmin, refusal.InvalidID},
		"admin with a line break":     {Options{}, verified("a\r\nSUB >", "fleet-admin"), protocol.RoleAdmin, refusal.InvalidID},
		"observer":                    {file, verified("bob", "watch"), protocol.RoleObserver, ""},
		"service":                     {file, verified("exporter", "export"), protocol.RoleService, ""},
		"observer and service":        {file, verified("bob", "watch", "export"), "", refusal.RoleAmbiguous},
		"observer without a file":     {Options{}, verified("bob", "watch"), "", refusal.RoleNone},
		"observer that is a wildcard": {file, verified("*", "watch"), protocol.RoleObserver, refusal.InvalidID},
		"service with a dot":          {file, verified("a.b", "export"), protocol.RoleService, refusal.InvalidID},
		"id of another claim":         {file, serial("sn-1"), protocol.RoleDevice, ""},
		"that claim is missing":       {file, verified("device-1", "device"), protocol.RoleDevice, refusal.InvalidID},
		"that claim is a wildcard":    {file, serial("*"), protocol.RoleDevice, refusal.InvalidID},
		"that claim is two tokens":    {file, serial("a.b"), protocol.RoleDevice, refusal.InvalidID},
		"that claim is a number":      {file, serial(12.0), protocol.RoleDevice, refusal.InvalidID},
		"that claim is a list":        {file, serial([]any{"sn-1"}), protocol.RoleDevice, refusal.InvalidID},
		"token that is not accepted":  {Options{}, fixed{token: token.Token{KeyID: "k"}, err: refusal.New(refusal.Expired, "x")}, "", refusal.Expired},
		"verifier that fails somehow": {Options{}, fixed{err: errors.New("x")}, "", refusal.Internal},
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
			var want protocol.Permissions
			name, account := row.verified.token.Subject, protocol.AccountDevices
			switch row.role {
			case protocol.RoleDevice:
				if serial, ok := row.verified.token.Claims["serial"]; ok {
					name = serial.(string)
				}
				want = protocol.DevicePermissions(protocol.DeviceID(name))
			case protocol.RoleAdmin:
				want = protocol.AdminPermissions(name)
			case protocol.RoleObserver:
				want = protocol.ObserverPermissions(name)
			case protocol.RoleService:
				account, want = protocol.AccountState, protocol.ServicePermissions(name)
			}
			if g.Rule == "" || g.Account != account || g.Name != name ||
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
		a := New(nil, Options{ExpiryJitter: jitter})
		a.now = func() time.Time { return now }
		end := now.Add(left)
		got := a.expiry(end)
		if got.After(end) || end.Sub(got) > jitter || (left > 0 && end.Sub(got) > left/10) {
			t.Fatalf("%s before the end, with %s left and a jitter of %s", end.Sub(got), left, jitter)
		}
	})
}

func TestExpiryIsSpread(t *testing.T) {
	a := New(nil, Options{ExpiryJitter: 30 * time.Second})
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
