package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Project is the id of the project that tokens are for.
const Project = "335862139427"

// RolesClaim is the claim of the project's roles.
const RolesClaim = "urn:zitadel:iam:org:project:" + Project + ":roles"

// Issuer issues tokens.
type Issuer struct {
	// URL is the issuer's origin.
	URL string
	// Fetches counts requests for the keys, Discoveries those for the document
	// that names where they are.
	Fetches, Discoveries atomic.Int64

	server *httptest.Server
	serial atomic.Int64
	down   atomic.Bool

	mu        sync.Mutex
	held      <-chan struct{}
	published []any
	signer    jose.Signer
	keyID     string
}

// New starts an issuer that signs with RS256 and ends with the test.
func New(tb testing.TB) *Issuer {
	tb.Helper()
	i := new(Issuer)
	i.Hold()()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.Discoveries.Add(1)
		i.answer(w, map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/oauth/v2/keys"})
	})
	mux.HandleFunc("GET /oauth/v2/keys", func(w http.ResponseWriter, r *http.Request) {
		i.Fetches.Add(1)
		i.mu.Lock()
		keys, held := i.published, i.held
		i.mu.Unlock()
		select {
		case <-r.Context().Done():
		case <-held:
		}
		i.answer(w, map[string]any{"keys": keys})
	})
	i.server = httptest.NewServer(mux)
	i.URL = i.server.URL
	tb.Cleanup(i.server.Close)
	i.Rotate(tb, jose.RS256)
	return i
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	if i.down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// Hold has every answer about keys wait from now on, until it is let go. The
// answer tells of the keys as they were at the question.
func (i *Issuer) Hold() (letGo func()) {
	held := make(chan struct{})
	i.mu.Lock()
	defer i.mu.Unlock()
	i.held = held
	return sync.OnceFunc(func() { close(held) })
}

// Down makes the issuer fail, or not, from now on.
func (i *Issuer) Down(down bool) { i.down.Store(down) }

// Rotate publishes another key beside the earlier ones and signs with it from
// now on.
func (i *Issuer) Rotate(tb testing.TB, algorithm jose.SignatureAlgorithm) {
	tb.Helper()
	key := NewKey(tb, algorithm)
	id := "key-" + strconv.FormatInt(i.serial.Add(1), 10)
	i.Publish(jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: string(algorithm), Use: "sig"})
	signer := NewSigner(tb, algorithm, key, id)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.signer, i.keyID = signer, id
}

// Publish adds something to the published keys: a [jose.JSONWebKey], or anything
// else that JSON can hold.
func (i *Issuer) Publish(key any) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = append(i.published[:len(i.published):len(i.published)], key)
}

// Published are the keys that are published.
func (i *Issuer) Published() []any {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.published)
}

// Withdraw publishes no key any more.
func (i *Issuer) Withdraw() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.published = []any{}
}

// KeyID is the id of the key that is signed with at present.
func (i *Issuer) KeyID() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keyID
}

// Claims are those of a good token for subject with roles, that lives for an
// hour. Each has an id of its own.
func (i *Issuer) Claims(subject string, roles ...string) map[string]any {
	now := time.Now()
	granted := make(map[string]any, len(roles))
	for _, role := range roles {
		granted[role] = map[string]string{"335862139100": "fleet.sso.example.org"}
	}
	return map[string]any{
		"iss": i.URL, "sub": subject, "aud": []string{Project}, "client_id": subject,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti":      fmt.Sprintf("V2_%d-at_%d", i.serial.Add(1), now.UnixNano()),
		RolesClaim: granted,
	}
}

// Token signs the claims of a good token after change, where it is not nil, has
// changed them. A claim that is set to nil is left out.
func (i *Issuer) Token(tb testing.TB, subject, role string, change map[string]any) string {
	tb.Helper()
	claims := i.Claims(subject, role)
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	i.mu.Lock()
	signer := i.signer
	i.mu.Unlock()
	return Sign(tb, signer, claims)
}

// Sign signs claims.
func Sign(tb testing.TB, signer jose.Signer, claims any) string {
	tb.Helper()
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		tb.Fatalf("sign token: %v", err)
	}
	return token
}

// NewSigner returns a signer with key under the key id.
func NewSigner(tb testing.TB, algorithm jose.SignatureAlgorithm, key any, id string) jose.Signer {
	tb.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		tb.Fatalf("make signer: %v", err)
	}
	return signer
}

// NewKey makes a key for the algorithm.
func NewKey(tb testing.TB, algorithm jose.SignatureAlgorithm) crypto.Signer {
	tb.Helper()
	var key crypto.Signer
	var err error
	switch algorithm {
	case jose.RS256:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case jose.ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("no key for %s", algorithm)
	}
	if err != nil {
		tb.Fatalf("make key: %v", err)
	}
	return key
}
