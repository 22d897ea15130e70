package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ErrAnswer says that the issuer answered with something that is no access token.
var ErrAnswer = errors.New("issuer's answer is no access token")

// Refusal is the issuer's answer that it gives no token. Asking again helps only
// if something changes there.
type Refusal struct {
	// Status is the HTTP status. Zitadel answers a wrong key with 500 and
	// server_error, newer versions with 400 and invalid_client.
	Status int
	// Code and Description are those of the OAuth 2.0 error; both may be empty.
	Code, Description string
}

// Error says what the issuer said.
func (r *Refusal) Error() string {
	text := fmt.Sprintf("issuer gives no token: status %d", r.Status)
	if r.Code != "" {
		text += ", " + r.Code
	}
	if r.Description != "" {
		text += " (" + r.Description + ")"
	}
	return text
}

// Token is an access token. It does not show itself: neither printed nor logged.
type Token struct {
	// ID is the token's own id (jti). It is no secret.
	ID string
	// Expiry is when the token ends.
	Expiry time.Time

	secret string
}

// Secret is the token itself.
func (t Token) Secret() string { return t.secret }

// String names the token without telling it.
func (t Token) String() string { return "token " + t.ID }

// GoString is String, for %#v.
func (t Token) GoString() string { return t.String() }

// LogValue names the token without telling it.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.ID) }

// algorithms are all that an issuer may sign with. What is in a token is read
// here, not believed: the broker's callout verifies it.
var algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512,
	jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// answer is what a token endpoint says.
type answer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

// parseAnswer reads what the token endpoint said. The error is a [Refusal] or
// wraps [ErrAnswer] or [ErrUnreachable]; it never holds a token.
func parseAnswer(status int, body []byte) (Token, error) {
	var a answer
	err := json.Unmarshal(body, &a)
	switch status {
	case http.StatusOK:
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		// Of somebody in between, or of an issuer without its database: about the device
		// nothing is said.
		return Token{}, fmt.Errorf("%w: it answers %d %s", ErrUnreachable, status, http.StatusText(status))
	default:
		return Token{}, &Refusal{Status: status, Code: brief(a.Code), Description: brief(a.Description)}
	}
	if err != nil || a.AccessToken == "" {
		return Token{}, fmt.Errorf("%w: there is none in it", ErrAnswer)
	}
	parsed, err := jwt.ParseSigned(a.AccessToken, algorithms)
	if err != nil {
		return Token{}, fmt.Errorf("%w: it is no JWT: set the user's access token type to JWT at the issuer", ErrAnswer)
	}
	var claims jwt.Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return Token{}, fmt.Errorf("%w: its claims cannot be read", ErrAnswer)
	}
	if claims.ID == "" || claims.Expiry == nil {
		return Token{}, fmt.Errorf("%w: it has no jti or exp", ErrAnswer)
	}
	return Token{ID: brief(claims.ID), Expiry: claims.Expiry.Time(), secret: a.AccessToken}, nil
}

// brief cuts outside text to what a log line bears.
func brief(s string) string {
	const limit = 200
	return s[:min(len(s), limit)]
}
