package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
)

// ErrNoKeys says that the issuer publishes no key that could sign a token. It is
// taken for a fault of the issuer: the keys known so far stay in use.
var ErrNoKeys = errors.New("the issuer publishes no usable signing key")

// minRSABits is the least size of an RSA key that is trusted (NIST SP 800-57,
// table 2: 112 bits of strength).
const minRSABits = 2048

// fetch asks the issuer's discovery document where its keys are, and gets them.
func fetch(ctx context.Context, caller *http.Client, issuer string) (map[string]jose.JSONWebKey, error) {
	discovered, err := client.Discover(ctx, issuer, caller)
	if err != nil {
		return nil, fmt.Errorf("discover issuer: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, discovered.JwksURI, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := httphelper.HttpRequest(caller, request, &set); err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	keys := make(map[string]jose.JSONWebKey, len(set.Keys))
	for _, raw := range set.Keys {
		// A key of a kind that is not known must not hide the others.
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil || !usable(key) {
			continue
		}
		keys[key.KeyID] = key
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("fetch keys: %w", ErrNoKeys)
	}
	return keys, nil
}

// usable reports whether key is a public one that may sign tokens in one of the
// accepted ways.
func usable(key jose.JSONWebKey) bool {
	if key.KeyID == "" || (key.Use != "" && key.Use != "sig") {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits
	case *ecdsa.PublicKey:
		return public.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return true
	}
	return false
}
