package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seatrial/seatrial/callout/admission"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/callout/token"
)

// facts are what steps tell of.
type facts struct {
	options Options
	raw     string
	token   *token.Token
	grant   admission.Grant
	// claimed is what the token says of itself. A step tells of it only if it was
	// found true by then.
	claimed claimed
	now     time.Time
}

// claimed are claims that nobody has looked at yet.
type claimed struct {
	algorithm string
	jwt.Claims
}

// peek reads a token without believing it.
func peek(raw string) claimed {
	var c claimed
	if len(raw) > token.MaxSize {
		return c
	}
	signed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.HS256, jose.HS384, jose.HS512,
	})
	if err != nil {
		return c
	}
	c.algorithm = signed.Headers[0].Algorithm
	// What cannot be read is told by the step that finds it.
	_ = signed.UnsafeClaimsWithoutVerification(&c.Claims)
	return c
}

// step is one step of every decision: which reasons end it there, and what is to
// be told if none did.
type step struct {
	name    string
	reasons []refusal.Reason
	tell    func(*facts) string
}

// stepKey is the step that finds the token's key.
const stepKey = "kid"

// steps are all steps in their order, which is that of [token.Verifier.Verify] and
// [admission.Admission.Admit].
var steps = []step{
	{"token", []refusal.Reason{refusal.NoToken, refusal.TokenTooLong, refusal.Malformed}, func(f *facts) string {
		return fmt.Sprintf("a signed JWT of %d bytes", len(f.raw))
	}},
	{stepKey, []refusal.Reason{refusal.KeyUnknown, refusal.KeysUnavailable}, func(f *facts) string {
		return fmt.Sprintf("%q is a key that %s publishes", f.grant.KeyID, f.options.Issuer)
	}},
	{"algorithm", []refusal.Reason{refusal.Algorithm}, func(f *facts) string {
		return f.claimed.algorithm + ", which is what the key is for"
	}},
	{"signature", []refusal.Reason{refusal.Signature}, func(*facts) string { return "made with that key" }},
	{"issuer", []refusal.Reason{refusal.Issuer}, func(f *facts) string { return f.options.Issuer }},
	{"audience", []refusal.Reason{refusal.Audience}, func(f *facts) string {
		return fmt.Sprintf("project %q is among %.256q", f.options.Project, []string(f.claimed.Audience))
	}},
	{"claims", []refusal.Reason{refusal.ClaimMissing}, func(f *facts) string {
		return fmt.Sprintf("sub %q, jti %q", f.token.Subject, f.token.ID)
	}},
	{"expiry", []refusal.Reason{refusal.Expired, refusal.NotYetValid}, func(f *facts) string {
		issued := ""
		if f.claimed.IssuedAt != nil {
			issued = "issued at " + at(f.claimed.IssuedAt.Time()) + ", "
		}
		return fmt.Sprintf("%sends at %s, in %s", issued, at(f.token.Expires), f.token.Expires.Sub(f.now).Round(time.Second))
	}},
	{"roles", []refusal.Reason{refusal.RolesMissing, refusal.RolesShape}, func(f *facts) string {
		return fmt.Sprintf("%.256q", f.token.Roles)
	}},
	{"rule", []refusal.Reason{refusal.RoleNone, refusal.RoleAmbiguous}, func(f *facts) string {
		for _, r := range f.options.Rules.Rules() {
			if r.Name == f.grant.Rule {
				return describe(r)
			}
		}
		return fmt.Sprintf("%q", f.grant.Rule)
	}},
	{"id", []refusal.Reason{refusal.InvalidID}, func(f *facts) string { return f.grant.Name }},
	{"account", nil, func(f *facts) string { return f.grant.Account }},
	{"permissions", nil, func(f *facts) string {
		var lines []string
		for _, subject := range f.grant.Permissions.Publish {
			lines = append(lines, "publish    "+subject)
		}
		for _, subject := range f.grant.Permissions.Subscribe {
			lines = append(lines, "subscribe  "+subject)
		}
		return strings.Join(lines, "\n")
	}},
	{"user JWT", nil, func(f *facts) string {
		text := "ends with the token, at " + at(f.grant.Expires)
		if jitter := min(f.options.ExpiryJitter, f.grant.Expires.Sub(f.now)/10); jitter > 0 {
			text += fmt.Sprintf(", or up to %s before, at random", jitter.Round(time.Second))
		}
		return text
	}},
}

// describe tells of a rule in a line.
func describe(r rules.Rule) string {
	text := fmt.Sprintf("%q:", r.Name)
	if r.Role != "" {
		text += fmt.Sprintf(" role %q", r.Role)
	}
	if len(r.Without) > 0 {
		text += fmt.Sprintf(" without %q", r.Without)
	}
	if len(r.Claims) > 0 {
		text += fmt.Sprintf(" claims %q", r.Claims)
	}
	return text + fmt.Sprintf(" is granted template %s, id from claim %q", r.Template, r.ID)
}

func at(t time.Time) string { return t.UTC().Format(time.RFC3339) }
