package matrix

import (
	"bytes"
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"strings"
	"time"
)

// claims are those of a token, header those of its signature.
type (
	claims map[string]any
	header map[string]any
)

// rolesClaim is where a token of the project says what its bearer is.
func (t *Target) rolesClaim() string { return "urn:zitadel:iam:org:project:" + t.Project + ":roles" }

// granted is the value of that claim.
func granted(roles ...string) map[string]any {
	all := map[string]any{}
	for _, role := range roles {
		all[role] = map[string]any{"300000000000000001": "fleet.example.org"}
	}
	return all
}

// good are the claims of a token that is as it should be, for a few minutes.
func (t *Target) good(subject, role string) claims {
	now := time.Now()
	return claims{
		"iss": t.Issuer, "sub": subject, "aud": []string{t.Project}, "client_id": subject,
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"jti": "isolation-" + rand.Text(), t.rolesClaim(): granted(role),
	}
}

// with returns the claims with these changes; nil takes a claim away.
func (c claims) with(change claims) claims {
	changed := maps.Clone(c)
	maps.Copy(changed, change)
	maps.DeleteFunc(changed, func(_ string, v any) bool { return v == nil })
	return changed
}

// header is that of a token that is as it should be.
func (s *Signer) header(change header) header {
	h := header{"alg": "RS256", "kid": s.KeyID, "typ": "JWT"}
	maps.Copy(h, change)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	return h
}

// unsigned are the two parts of a token that are signed.
func unsigned(h header, c claims) (string, error) {
	head, err := json.Marshal(h)
	if err != nil {
		return "", fmt.Errorf("forge a token: %w", err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("forge a token: %w", err)
	}
	return encode(head) + "." + encode(body), nil
}

func encode(part []byte) string { return base64.RawURLEncoding.EncodeToString(part) }

// sign makes a token with an RSA key, by the hash and padding that the algorithm
// in the header asks for.
func sign(key crypto.Signer, h header, c claims) (string, error) {
	text, err := unsigned(h, c)
	if err != nil {
		return "", err
	}
	hash := map[any]crypto.Hash{"RS384": crypto.SHA384, "RS512": crypto.SHA512}[h["alg"]]
	if hash == 0 {
		hash = crypto.SHA256
	}
	digest := hash.New()
	digest.Write([]byte(text))
	var options crypto.SignerOpts = hash
	if h["alg"] == "PS256" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	signature, err := key.Sign(rand.Reader, digest.Sum(nil), options)
	if err != nil {
		return "", fmt.Errorf("forge a token: %w", err)
	}
	return text + "." + encode(signature), nil
}

// mac makes a token with a secret.
func mac(secret []byte, h header, c claims) (string, error) {
	text, err := unsigned(h, c)
	if err != nil {
		return "", err
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(text))
	return text + "." + encode(m.Sum(nil)), nil
}

// stranger is a key that no issuer knows.
func stranger() (crypto.Signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, nil
}

// publicForms are ways in which a public key can be taken for a secret.
func publicForms(key crypto.Signer) (map[string][]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("forge a token: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	public := key.Public().(*rsa.PublicKey)
	return map[string][]byte{
		"in PEM": text, "in PEM without its end of line": bytes.TrimSpace(text), "in DER": der,
		"in PKCS#1": x509.MarshalPKCS1PublicKey(public), "by its modulus": public.N.Bytes(),
	}, nil
}

// genuine is a token of the attacker's in its three parts, the second decoded.
func (s *scene) genuine(ctx context.Context) (parts [3]string, body claims, err error) {
	token, err := s.Token(ctx, string(s.Attacker))
	if err != nil {
		return parts, nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	split := strings.Split(token, ".")
	if len(split) != len(parts) {
		return parts, nil, fmt.Errorf("%w: the attacker's token has %d parts", ErrBroken, len(split))
	}
	copy(parts[:], split)
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(raw, &body)
	}
	if err != nil {
		return parts, nil, fmt.Errorf("%w: read the attacker's token: %w", ErrBroken, err)
	}
	return parts, body, nil
}

// forgeMAC makes a token of the victim with the issuer's public key as its secret.
func forgeMAC(form string) func(context.Context, *scene) (string, error) {
	return func(_ context.Context, s *scene) (string, error) {
		forms, err := publicForms(s.Signer.Key)
		if err != nil {
			return "", err
		}
		return mac(forms[form], s.Signer.header(header{"alg": "HS256"}), s.good(string(s.Victim), "device"))
	}
}

// strangers makes a token of the victim that a key signs that no issuer knows. With
// embed, the header of this name carries the public key.
func strangers(change header, embed string) func(context.Context, *scene) (string, error) {
	return func(_ context.Context, s *scene) (string, error) {
		key, err := stranger()
		if err != nil {
			return "", err
		}
		issuers := s.Signer
		if issuers == nil {
			issuers = &Signer{KeyID: "none"}
		}
		h := issuers.header(change)
		if embed != "" {
			public := key.Public().(*rsa.PublicKey)
			h[embed] = map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "n": encode(public.N.Bytes()), "e": "AQAB"}
		}
		return sign(key, h, s.good(string(s.Victim), "device"))
	}
}
