package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/go-json-experiment/json"

	"github.com/seatrial/seatrial/callout/refusal"
)

// MaxSize is the most bytes of an access token that is looked at. Zitadel's are
// about 1 KiB; the broker's own limit on the line that carries one is
// protocol.MaxControlLine.
const MaxSize = 8 << 10

// maxClaim is the most bytes that sub and jti may have.
const maxClaim = 256

// Leeway is how far the issuer's clock may be ahead of ours. It applies to nbf
// and iat alone: a connection ends with its token, so one past its exp could
// not be admitted anyway.
const Leeway = 5 * time.Second

// Token is what a verified access token says.
type Token struct {
	// KeyID names the key that the token is signed with.
	KeyID string
	// ID is the token's own id (jti). It is no secret.
	ID string
	// Subject is the user that the token was issued to.
	Subject string
	// Expires is when the token ends, to the second.
	Expires time.Time
	// Roles are the project's roles that the subject holds, sorted.
	Roles []string
	// Claims are those of the claims that the verifier keeps which the token has.
	// They and Roles are shared by all who are given the same token: nobody changes
	// them.
	Claims map[string]any
}

// Keys finds the issuer's public key by its id. The error is a refusal.
type Keys interface {
	Key(ctx context.Context, id string) (jose.JSONWebKey, error)
}

// Verifier checks access tokens of one issuer for one project.
type Verifier struct {
	issuer, project, rolesClaim string

	keys   Keys
	keep   []string
	memory *memory
	now    func() time.Time
}

// NewVerifier returns a verifier for tokens that issuer, its exact origin, made
// for project, the project's id. It keeps the claims called keep of a token beside
// those that every token has.
func NewVerifier(issuer, project string, keys Keys, keep ...string) *Verifier {
	return &Verifier{
		issuer:     issuer,
		project:    project,
		rolesClaim: "urn:zitadel:iam:org:project:" + project + ":roles",
		keys:       keys,
		keep:       keep,
		memory:     newMemory(),
		now:        time.Now,
	}
}

// algorithms are the signatures that are accepted: those that Zitadel's keys can
// have. Neither "none" nor anything symmetric is among them.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA}

// Verify returns what raw says if it is genuine, valid now and meant for the
// project. Otherwise the error is a [refusal.Error], and the token, never nil,
// holds what was known by then: the key id as claimed, all else as signed.
func (v *Verifier) Verify(ctx context.Context, raw string) (*Token, error) {
	t := new(Token)
	switch {
	case raw == "":
		return t, refusal.New(refusal.NoToken, "the client sent neither a token nor a password")
	case len(raw) > MaxSize:
		return t, refusal.New(refusal.TokenTooLong, "the token has %d bytes, at most %d are looked at", len(raw), MaxSize)
	}
	sum := hash(raw)
	if known, ok := v.recall(ctx, sum); ok {
		return known, nil
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms)
	if err != nil {
		var unexpected *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &unexpected) {
			return t, refusal.New(refusal.Algorithm, "the token is not signed with one of %v", algorithms)
		}
		return t, refusal.New(refusal.Malformed, "the token is not a signed JWT")
	}
	header := signed.Signatures[0].Header
	t.KeyID = header.KeyID
	if t.KeyID == "" || len(t.KeyID) > maxClaim {
		t.KeyID = ""
		return t, refusal.New(refusal.KeyUnknown, "the token names no key")
	}
	key, err := v.keys.Key(ctx, t.KeyID)
	if err != nil {
		return t, err
	}
	if !fits(key, header.Algorithm) {
		return t, refusal.New(refusal.Algorithm, "the token is signed with %s, which is not what its key is for", header.Algorithm)
	}
	payload, err := signed.Verify(key.Key)
	if errors.Is(err, jose.ErrCryptoFailure) {
		return t, refusal.New(refusal.Signature, "the token is not signed by the key it names")
	}
	var c claims
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		return t, refusal.New(refusal.Malformed, "the token's header or claims are not of the expected types")
	}
	if err := v.check(&c.Claims, t); err != nil {
		return t, err
	}
	if t.Claims, err = v.kept(payload); err != nil {
		return t, err
	}
	if t.Roles, err = v.roles(c.Others); err == nil {
		v.memory.tokens.Add(sum, verified{token: *t, key: key})
	}
	return t, err
}

// claims are those of a token. They are read by encoding/json/v2, in a third of the
// time that go-jose's own takes, and as strictly: a name counts in its own case alone
// and may be there once.
type claims struct {
	jwt.Claims
	// Others are those that are not registered.
	Others map[string]any `json:",embed"` //nolint:staticcheck // of encoding/json/v2, which it does not know yet
}

// kept returns the claims that the verifier keeps, registered or not.
func (v *Verifier) kept(payload []byte) (kept map[string]any, err error) {
	if len(v.keep) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(payload, &kept); err != nil {
		return nil, refusal.New(refusal.Malformed, "the token's claims cannot be read")
	}
	maps.DeleteFunc(kept, func(name string, _ any) bool { return !slices.Contains(v.keep, name) })
	return kept, nil
}

// fits reports whether key may make signatures of the algorithm: an issuer that
// publishes a key for one algorithm did not mean another.
func fits(key jose.JSONWebKey, algorithm string) bool {
	if key.Algorithm != "" && key.Algorithm != algorithm {
		return false
	}
	switch key.Key.(type) {
	case *rsa.PublicKey:
		return algorithm == string(jose.RS256)
	case *ecdsa.PublicKey:
		return algorithm == string(jose.ES256)
	case ed25519.PublicKey:
		return algorithm == string(jose.EdDSA)
	}
	return false
}

// check fills t from the registered claims and reports the first that is wrong.
func (v *Verifier) check(c *jwt.Claims, t *Token) error {
	if len(c.Subject) <= maxClaim && len(c.ID) <= maxClaim {
		t.Subject, t.ID = c.Subject, c.ID
	}
	switch {
	case c.Issuer != v.issuer:
		return refusal.New(refusal.Issuer, "the token is of issuer %.80q, not %q", c.Issuer, v.issuer)
	case !slices.Contains(c.Audience, v.project):
		return refusal.New(refusal.Audience, "the token is not meant for project %q", v.project)
	case t.Subject == "" || t.ID == "":
		return refusal.New(refusal.ClaimMissing, "the token has no sub or no jti of at most %d bytes", maxClaim)
	case c.Expiry == nil || c.IssuedAt == nil:
		return refusal.New(refusal.ClaimMissing, "the token has no exp or no iat")
	}
	t.Expires = c.Expiry.Time()
	now := v.now()
	switch ahead := now.Add(Leeway); {
	case !now.Before(t.Expires):
		return refusal.New(refusal.Expired, "the token expired at %s", t.Expires.UTC().Format(time.RFC3339))
	case c.IssuedAt.Time().After(ahead):
		return refusal.New(refusal.NotYetValid, "the token says it was issued at %s, which lies ahead: compare the clocks", c.IssuedAt.Time().UTC().Format(time.RFC3339))
	case c.NotBefore != nil && c.NotBefore.Time().After(ahead):
		return refusal.New(refusal.NotYetValid, "the token is valid from %s on", c.NotBefore.Time().UTC().Format(time.RFC3339))
	}
	return nil
}

// roles reads the project's claim {"role": {"organisation id": "domain"}}.
func (v *Verifier) roles(claims map[string]any) ([]string, error) {
	claim, ok := claims[v.rolesClaim]
	if !ok {
		return nil, refusal.New(refusal.RolesMissing, "the token has no claim %q: no role was granted, or none was asked for", v.rolesClaim)
	}
	roles, ok := claim.(map[string]any)
	if !ok {
		return nil, refusal.New(refusal.RolesShape, "claim %q is not an object", v.rolesClaim)
	}
	for role, value := range roles {
		organisations, ok := value.(map[string]any)
		if !ok || len(organisations) == 0 {
			return nil, refusal.New(refusal.RolesShape, "role %.80q is not granted in any organisation", role)
		}
		for _, domain := range organisations {
			if _, ok := domain.(string); !ok {
				return nil, refusal.New(refusal.RolesShape, "role %.80q is not of the form organisation → domain", role)
			}
		}
	}
	return slices.Sorted(maps.Keys(roles)), nil
}
