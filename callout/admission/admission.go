package admission

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// Verifier checks an access token. Its token is never nil; its error is a
// refusal.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*token.Token, error)
}

// Rules say which role of the project is which of the fleet's, and how long a
// grant lives. Zero values take the defaults.
type Rules struct {
	// Device and Admin are the names of the project's roles. Defaults
	// protocol.RoleDevice and protocol.RoleAdmin.
	Device, Admin string
	// ExpiryJitter is by how much a grant may end before its token, at most and
	// at random, so that a fleet that was admitted together does not expire
	// together. It never takes more than a tenth of the time that is left.
	ExpiryJitter time.Duration
}

// Grant is what a connection gets. For a refused one, it holds what was known
// when it was refused.
type Grant struct {
	Role        protocol.Role
	Name        string
	Account     string
	Permissions protocol.Permissions
	// Expires is when the connection must end.
	Expires time.Time
	// TokenID and KeyID tell by which token the bearer was admitted.
	TokenID, KeyID string
}

// Admission grants connections.
type Admission struct {
	verifier Verifier
	rules    Rules
	now      func() time.Time
}

// New returns an admission by rules for tokens that verifier accepts.
func New(verifier Verifier, rules Rules) *Admission {
	if rules.Device == "" {
		rules.Device = string(protocol.RoleDevice)
	}
	if rules.Admin == "" {
		rules.Admin = string(protocol.RoleAdmin)
	}
	return &Admission{verifier: verifier, rules: rules, now: time.Now}
}

// Admit returns what the bearer of the token raw may do, or a refusal.
func (a *Admission) Admit(ctx context.Context, raw string) (Grant, error) {
	t, err := a.verifier.Verify(ctx, raw)
	g := Grant{Name: t.Subject, TokenID: t.ID, KeyID: t.KeyID}
	if err != nil {
		return g, err
	}
	if g.Role, err = a.role(t.Roles); err != nil {
		return g, err
	}
	switch g.Role {
	case protocol.RoleDevice:
		id, err := protocol.ParseDeviceID(t.Subject)
		if err != nil {
			return g, refusal.New(refusal.InvalidID, "the token's sub: %w", err)
		}
		g.Permissions = protocol.DevicePermissions(id)
	case protocol.RoleAdmin:
		name, err := protocol.ParseAdminName(t.Subject)
		if err != nil {
			return g, refusal.New(refusal.InvalidID, "the token's sub: %w", err)
		}
		g.Permissions = protocol.AdminPermissions(name)
	}
	// The broker reads an empty list as "everything".
	if len(g.Permissions.Publish) == 0 || len(g.Permissions.Subscribe) == 0 {
		return g, refusal.New(refusal.Internal, "role %q has no permissions", g.Role)
	}
	g.Account = protocol.AccountDevices
	g.Expires = a.expiry(t.Expires)
	return g, nil
}

// role returns the one role that counts. A bearer of both is refused, not taken
// for the lesser: a device that was made an admin is a mistake or an attack, its
// name would be in use twice, and whichever role was chosen, half of what the
// issuer says would silently not hold.
func (a *Admission) role(roles []string) (protocol.Role, error) {
	device, admin := slices.Contains(roles, a.rules.Device), slices.Contains(roles, a.rules.Admin)
	switch {
	case device && admin:
		return "", refusal.New(refusal.RoleAmbiguous, "the token carries both %q and %q: grant its user one of them", a.rules.Device, a.rules.Admin)
	case device:
		return protocol.RoleDevice, nil
	case admin:
		return protocol.RoleAdmin, nil
	}
	return "", refusal.New(refusal.RoleNone, "the token carries neither %q nor %q", a.rules.Device, a.rules.Admin)
}

// expiry is end or, by the jitter, a little earlier.
func (a *Admission) expiry(end time.Time) time.Time {
	jitter := min(a.rules.ExpiryJitter, end.Sub(a.now())/10)
	if jitter <= 0 {
		return end
	}
	return end.Add(-rand.N(jitter))
}
