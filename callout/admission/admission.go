package admission

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// Verifier checks an access token. Its token is never nil; its error is a
// refusal.
type Verifier interface {
	Verify(ctx context.Context, raw string) (*token.Token, error)
}

// Options say how connections are granted. Zero values take the defaults.
type Options struct {
	// Rules say who is what. Default: the built-in ones.
	Rules *rules.Set
	// ExpiryJitter is by how much a grant may end before its token, at most and
	// at random, so that a fleet that was admitted together does not expire
	// together. It never takes more than a tenth of the time that is left.
	ExpiryJitter time.Duration
}

// Grant is what a connection gets. For a refused one, it holds what was known
// when it was refused.
type Grant struct {
	// Rule is the name of the rule that the token fits.
	Rule        string
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
	rules    *rules.Set
	jitter   time.Duration
	now      func() time.Time
}

// New returns an admission for tokens that verifier accepts.
func New(verifier Verifier, o Options) *Admission {
	if o.Rules == nil {
		o.Rules = rules.Builtin(string(protocol.RoleDevice), string(protocol.RoleAdmin))
	}
	return &Admission{verifier: verifier, rules: o.Rules, jitter: o.ExpiryJitter, now: time.Now}
}

// Admit returns what the bearer of the token raw may do, or a refusal.
func (a *Admission) Admit(ctx context.Context, raw string) (Grant, error) {
	t, err := a.verifier.Verify(ctx, raw)
	g := Grant{Name: t.Subject, TokenID: t.ID, KeyID: t.KeyID}
	if err != nil {
		return g, err
	}
	rule, err := a.rules.Match(t)
	if err != nil {
		return g, err
	}
	g.Rule, g.Role = rule.Name, rule.Template.Role()
	id, err := rule.Identify(t)
	if err != nil {
		return g, err
	}
	permissions, err := rule.Template.Permissions(id)
	if err != nil {
		return g, refusal.New(refusal.InvalidID, "the token's %s: %w", rule.ID, err)
	}
	// The broker reads an empty list as "everything".
	if len(permissions.Publish) == 0 || len(permissions.Subscribe) == 0 {
		return g, refusal.New(refusal.Internal, "role %q has no permissions", g.Role)
	}
	g.Name, g.Account, g.Permissions = id, rule.Account, permissions
	g.Expires = a.expiry(t.Expires)
	return g, nil
}

// expiry is end or, by the jitter, a little earlier.
func (a *Admission) expiry(end time.Time) time.Time {
	jitter := min(a.jitter, end.Sub(a.now())/10)
	if jitter <= 0 {
		return end
	}
	return end.Add(-rand.N(jitter))
}
