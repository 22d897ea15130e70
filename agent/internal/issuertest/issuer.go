package issuertest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Project is the id of the project that tokens are for.
const Project = "335862139427"

// Scope is what a device has to ask for.
const Scope = "urn:zitadel:iam:org:project:id:" + Project + ":aud urn:zitadel:iam:org:projects:roles"

// Issuer issues tokens.
type Issuer struct {
	// URL is the issuer's origin.
	URL string
	// Public verifies its tokens.
	Public *rsa.PublicKey

	signer jose.Signer
	mu     sync.Mutex
	keys   map[string]registered
	made   int
	// ahead is by how much its clock is ahead of the machine's.
	ahead  time.Duration
	fail   func(w http.ResponseWriter) bool
	minted []string
}

type registered struct {
	user   string
	public *rsa.PublicKey
}

// New starts an issuer that ends with the test.
func New(tb testing.TB) *Issuer {
	tb.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: private, KeyID: "issuer"}}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	i := &Issuer{Public: &private.PublicKey, signer: signer, keys: make(map[string]registered)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth/v2/token", i.token)
	server := httptest.NewServer(mux)
	tb.Cleanup(server.Close)
	i.URL = server.URL
	return i
}

// Fail has every request answered by fail, if that returns true; nil ends it.
func (i *Issuer) Fail(fail func(w http.ResponseWriter) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fail = fail
}

// Leap sets the issuer's clock ahead of the machine's.
func (i *Issuer) Leap(ahead time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ahead = ahead
}

// now is the time by the issuer's clock.
func (i *Issuer) now() time.Time { return time.Now().Add(i.ahead) }

// Minted are the ids of the tokens that were given to devices, oldest first.
func (i *Issuer) Minted() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]string(nil), i.minted...)
}

// KeyFile registers a new key of a user and writes its file.
func (i *Issuer) KeyFile(tb testing.TB, user string) string {
	tb.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	id := i.Register(user, &private.PublicKey)
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	content, err := json.Marshal(map[string]string{
		"type": "serviceaccount", "keyId": id, "key": string(text), "expirationDate": "2099-01-01T00:00:00Z", "userId": user,
	})
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "key.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Register has the issuer know a key of a user, and returns what it calls that.
func (i *Issuer) Register(user string, public *rsa.PublicKey) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made++
	id := fmt.Sprintf("key-%d", i.made)
	i.keys[id] = registered{user, public}
	return id
}

// KeysOf are the keys that the issuer knows of a user, in their order.
func (i *Issuer) KeysOf(user string) []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	var ids []string
	for id, key := range i.keys {
		if key.user == user {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Retire has the issuer forget all keys of a user but one, which it must know.
func (i *Issuer) Retire(user, keep string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.keys[keep].user != user {
		return fmt.Errorf("user %s has no key %s", user, keep)
	}
	maps.DeleteFunc(i.keys, func(id string, key registered) bool { return key.user == user && id != keep })
	return nil
}

// RegisterAs has the issuer know a key of a user under this id.
func (i *Issuer) RegisterAs(id, user string, public *rsa.PublicKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[id] = registered{user, public}
}

// token is the token endpoint.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.fail != nil && i.fail(w) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Date", i.now().UTC().Format(http.TimeFormat))
	user, err := i.verify(r)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": err.Error()})
		return
	}
	id := fmt.Sprintf("V2_%d-at_%d", len(i.minted)+1, time.Now().UnixNano())
	i.minted = append(i.minted, id)
	token, err := i.sign(id, user, "device")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
}

// verify is as strict about an assertion as Zitadel is.
func (i *Issuer) verify(r *http.Request) (string, error) {
	if grant := r.PostFormValue("grant_type"); grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return "", fmt.Errorf("grant %q", grant)
	}
	if scope := r.PostFormValue("scope"); scope != Scope {
		return "", fmt.Errorf("scope %q", scope)
	}
	assertion, err := jwt.ParseSigned(r.PostFormValue("assertion"), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", fmt.Errorf("parse assertion: %w", err)
	}
	key, found := i.keys[assertion.Headers[0].KeyID]
	if !found {
		return "", fmt.Errorf("key %q is not known", assertion.Headers[0].KeyID)
	}
	var claims jwt.Claims
	if err := assertion.Claims(key.public, &claims); err != nil {
		return "", fmt.Errorf("verify assertion: %w", err)
	}
	now := i.now()
	switch issued := claims.IssuedAt.Time(); {
	case claims.Issuer != key.user || claims.Subject != key.user:
		return "", fmt.Errorf("iss %q, sub %q, key of %q", claims.Issuer, claims.Subject, key.user)
	case len(claims.Audience) != 1 || claims.Audience[0] != i.URL:
		return "", fmt.Errorf("aud %v", claims.Audience)
	case issued.After(now.Add(time.Second)) || issued.Before(now.Add(-time.Hour)):
		return "", fmt.Errorf("iat %v", issued)
	case claims.Expiry.Time().Before(now):
		return "", fmt.Errorf("exp %v", claims.Expiry.Time())
	}
	return key.user, nil
}

// Token is a token for subject in a role, without a grant.
func (i *Issuer) Token(tb testing.TB, subject, role string) string {
	tb.Helper()
	token, err := i.sign("direct-"+subject, subject, role)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func (i *Issuer) sign(id, subject, role string) (string, error) {
	now := time.Now()
	return jwt.Signed(i.signer).Claims(map[string]any{
		"iss": i.URL, "sub": subject, "aud": []string{Project}, "jti": id,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"urn:zitadel:iam:org:project:" + Project + ":roles": map[string]any{role: map[string]string{"1": "fleet"}},
	}).Serialize()
}
