package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// ErrUnreachable says that the issuer could not be asked: nobody answers, or somebody
// in its place who says so.
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

// clockNoise is by how much an issuer's clock may differ from ours without being
// heeded: its answers say the time in whole seconds, and take a while to come.
const clockNoise = 5 * time.Second

// Source makes access tokens.
type Source struct {
	issuer, scope string
	client        *http.Client
	now           func() time.Time

	// ready is closed once there is a key.
	ready chan struct{}

	mu     sync.Mutex
	key    *Key
	signer jose.Signer
	// ahead is by how much our clock is ahead of the issuer's; heard says that the
	// issuer has told the time.
	ahead time.Duration
	heard bool
}

// NewSource returns a source of tokens for a project's audience, with the roles
// granted there, from the issuer with this exact origin. Without a key there are
// none until [Source.Use] brings one.
func NewSource(issuer, project string, key *Key) (*Source, error) {
	s := &Source{
		issuer: issuer,
		scope:  "urn:zitadel:iam:org:project:id:" + project + ":aud urn:zitadel:iam:org:projects:roles",
		// Tokens are asked for seldom: no connection is kept for them.
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		now:   time.Now,
		ready: make(chan struct{}),
	}
	if key == nil {
		return s, nil
	}
	if err := s.Use(key); err != nil {
		return nil, err
	}
	return s, nil
}

// Use has tokens made with another key from now on.
func (s *Source) Use(key *Key) error {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.ID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return fmt.Errorf("make the signer of assertions: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		close(s.ready)
	}
	s.key, s.signer = key, signer
	return nil
}

// Ahead is by how much our clock is ahead of the issuer's, give or take a second,
// and whether the issuer has told the time yet.
func (s *Source) Ahead() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead, s.heard
}

// Mint gets a new token, and waits for a key if there is none yet. The error is a [Refusal], or wraps [ErrUnreachable] or
// [ErrAnswer].
func (s *Source) Mint(ctx context.Context) (Token, error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return Token{}, fmt.Errorf("wait for a key: %w", ctx.Err())
	}
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
	sent := s.now()
	response, err := s.client.Do(request)
	if err != nil {
		return Token{}, fmt.Errorf("ask for a token: %w: %w", ErrUnreachable, err)
	}
	defer response.Body.Close()
	s.readClock(response.Header.Get("Date"), sent)
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

// readClock learns from an answer, a refusal too, what time it is for the issuer. The
// next assertion is dated by that: a device whose clock is wrong by more than the
// issuer takes would be lost otherwise until somebody set it right.
func (s *Source) readClock(date string, sent time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		return // an issuer that does not say
	}
	// Somewhere between sending and now; and of a second its beginning is told.
	ours := sent.Add(s.now().Sub(sent) / 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead, s.heard = ours.Sub(theirs.Add(time.Second/2)), true
}

func (s *Source) assertion() (string, error) {
	s.mu.Lock()
	key, signer, now := s.key, s.signer, s.now()
	if s.ahead.Abs() > clockNoise {
		now = now.Add(-s.ahead)
	}
	s.mu.Unlock()
	assertion, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: key.User, Subject: key.User, Audience: jwt.Audience{s.issuer},
		IssuedAt: jwt.NewNumericDate(now.Add(-backDate)), Expiry: jwt.NewNumericDate(now.Add(lifetime)),
	}).Serialize()
	if err != nil {
		return "", fmt.Errorf("sign the assertion: %w", err)
	}
	return assertion, nil
}
