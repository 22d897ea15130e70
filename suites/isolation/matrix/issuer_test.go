package matrix_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/seatrial/seatrial/protocol"
	"github.com/seatrial/seatrial/suites/isolation/matrix"
)

// project is the id of the project that tokens are for.
const project = "335862139427"

// issuer issues tokens as Zitadel does, and shows its keys.
type issuer struct {
	url    string
	signer *matrix.Signer
	sign   jose.Signer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	const id = "key-1"
	i := &issuer{signer: &matrix.Signer{KeyID: id, Key: key}}
	i.sign, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	answer := func(path string, v func() any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v())
		})
	}
	answer("/.well-known/openid-configuration", func() any {
		return map[string]string{"issuer": i.url, "jwks_uri": i.url + "/oauth/v2/keys"}
	})
	answer("/oauth/v2/keys", func() any {
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: id, Algorithm: string(jose.RS256), Use: "sig"}}}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	i.url = s.URL
	return i
}

// roleNamed is what a user is in the project.
func roleNamed(user string) protocol.Role {
	switch user {
	case admin:
		return protocol.RoleAdmin
	case observer:
		return protocol.RoleObserver
	case service:
		return protocol.RoleService
	}
	return protocol.RoleDevice
}

// token is a fresh one of a user, with what it is in the project.
func (i *issuer) token(_ context.Context, user string) (string, error) {
	role := roleNamed(user)
	now := time.Now()
	return jwt.Signed(i.sign).Claims(map[string]any{
		"iss": i.url, "sub": user, "aud": []string{project}, "client_id": user, "jti": "V2_" + rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"urn:zitadel:iam:org:project:" + project + ":roles": map[string]any{string(role): map[string]string{"335862139100": "fleet.sso.example.org"}},
	}).Serialize()
}
