package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ErrUnreachable says that the issuer could not be asked.
var ErrUnreachable = errors.New("issuer cannot be reached")

// Zitadel's token endpoint, and the grant.
const (
	tokenPath = "/oauth/v2/token"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Times of an assertion. Zitadel takes one that is issued up to 1 h ago and not
// more than 1 s in the future: a device's clock is back-dated by more than it is
// likely to be ahead.
const (
	backDate = 2 * time.Minute
	lifetime = 5 * time.Minute
)

// mintTimeout bounds one request. It is far above the 12.8 ms that 99 of 100 were
// seen to take, and below what a broker's outage may last.
const mintTimeout = 5 * time.Second

// maxAnswer is the most bytes of an answer that are read: more than a broker would
// take of a token.
const maxAnswer = 64 << 10

// Source makes access tokens.
type Source struct {
	issuer, scope string
	key           *Key
	signer        jose.Signer
	client        *http.Client
	now           func() time.Time
}

// NewSource returns a source of tokens for a project's audience, with the roles
// granted there, from the issuer with this exact origin.
func NewSource(issuer, project string, key *Key) (*Source, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("make the signer of assertions: %w", err)
	}
	return &Source{
		issuer: issuer,
		scope:  "urn:zitadel:iam:org:project:id:" + project + ":aud urn:zitadel:iam:org:projects:roles",
		key:    key,
		signer: signer,
		// Tokens are asked for seldom: no connection is kept for them.
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now: time.Now,
	}, nil
}

// Mint gets a new token. The error is a [Refusal], or wraps [ErrUnreachable] or
// [ErrAnswer].
func (s *Source) Mint(ctx context.Context) (Token, error) {
	ctx, cancel := context.WithTimeout(ctx, mintTimeout)
	defer cancel()
	assertion, err := s.assertion()
	if err != nil {
		return Token{}, err
	}
	form := url.Values{"grant_type": {grantType}, "scope": {s.scope}, "assertion": {assertion}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.issuer+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, fmt.Errorf("ask for a token: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return Token{}, fmt.Errorf("ask for a token: %w: %w", ErrUnreachable, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return Token{}, fmt.Errorf("ask for a token: %w: %w", ErrUnreachable, err)
	}
	token, err := parseAnswer(response.StatusCode, body)
	if err != nil {
		return Token{}, fmt.Errorf("ask for a token: %w", err)
	}
	return token, nil
}

func (s *Source) assertion() (string, error) {
	now := s.now()
	assertion, err := jwt.Signed(s.signer).Claims(jwt.Claims{
		Issuer: s.key.User, Subject: s.key.User, Audience: jwt.Audience{s.issuer},
		IssuedAt: jwt.NewNumericDate(now.Add(-backDate)), Expiry: jwt.NewNumericDate(now.Add(lifetime)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return assertion, nil
}
