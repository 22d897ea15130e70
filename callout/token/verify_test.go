package token_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
)

// loaded returns a set that has the issuer's keys and is kept until the test
// ends.
func loaded(t testing.TB, o token.KeySetOptions) *token.KeySet {
	t.Helper()
	keys := running(t, o)
	select {
	case <-keys.Loaded():
	case <-time.After(time.Minute):
		t.Fatal("no keys")
	}
	return keys
}

// running returns a set that is kept until the test ends.
func running(t testing.TB, o token.KeySetOptions) *token.KeySet {
	t.Helper()
	o.Client = &http.Client{Transport: new(http.Transport)}
	keys := token.NewKeySet(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); keys.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; o.Client.CloseIdleConnections() })
	return keys
}

func refused(t *testing.T, v *token.Verifier, raw string, want refusal.Reason) {
	t.Helper()
	got, err := v.Verify(t.Context(), raw)
	if got == nil {
		t.Fatal("no token beside the error")
	}
	if refusal.ReasonOf(err) != want {
		t.Errorf("got %v, want reason %q", err, want)
	}
	// The signature is what would make a logged token useful.
	if last := raw[strings.LastIndex(raw, ".")+1:]; err != nil && len(last) > 20 && strings.Contains(err.Error(), last[:20]) {
		t.Errorf("the error holds the token: %v", err)
	}
}

func TestVerifyClaims(t *testing.T) {
	issuer := issuertest.New(t)
	v := token.NewVerifier(issuer.URL, issuertest.Project, loaded(t, token.KeySetOptions{Issuer: issuer.URL}))
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	roles := issuertest.RolesClaim
	for name, row := range map[string]struct {
		change map[string]any
		want   refusal.Reason
	}{
		"good":                          {nil, ""},
		"audience as a string":          {map[string]any{"aud": issuertest.Project}, ""},
		"one audience of several":       {map[string]any{"aud": []string{"x", issuertest.Project}}, ""},
		"without nbf":                   {map[string]any{"nbf": nil}, ""},
		"a little ahead":                {map[string]any{"iat": in(2 * time.Second), "nbf": in(2 * time.Second)}, ""},
		"role in two organisations":     {map[string]any{roles: map[string]any{"device": map[string]string{"1": "a", "2": "b"}}}, ""},
		"expired":                       {map[string]any{"exp": in(-time.Hour)}, refusal.Expired},
		"just expired, no leeway":       {map[string]any{"exp": in(-time.Second)}, refusal.Expired},
		"without exp":                   {map[string]any{"exp": nil}, refusal.ClaimMissing},
		"exp 0":                         {map[string]any{"exp": 0}, refusal.Expired},
		"negative exp":                  {map[string]any{"exp": -1}, refusal.Expired},
		"exp as text":                   {map[string]any{"exp": "tomorrow"}, refusal.Malformed},
		"issued ahead":                  {map[string]any{"iat": in(time.Minute)}, refusal.NotYetValid},
		"without iat":                   {map[string]any{"iat": nil}, refusal.ClaimMissing},
		"not yet valid":                 {map[string]any{"nbf": in(time.Minute)}, refusal.NotYetValid},
		"other issuer":                  {map[string]any{"iss": "https://evil.example.org"}, refusal.Issuer},
		"issuer with a slash":           {map[string]any{"iss": issuer.URL + "/"}, refusal.Issuer},
		"issuer in capitals":            {map[string]any{"iss": strings.ToUpper(issuer.URL)}, refusal.Issuer},
		"without issuer":                {map[string]any{"iss": nil}, refusal.Issuer},
		"issuer as a list":              {map[string]any{"iss": []string{issuer.URL}}, refusal.Malformed},
		"other audience":                {map[string]any{"aud": []string{"another"}}, refusal.Audience},
		"audience that starts the same": {map[string]any{"aud": []string{issuertest.Project + "0"}}, refusal.Audience},
		"no audience":                   {map[string]any{"aud": []string{}}, refusal.Audience},
		"without audience":              {map[string]any{"aud": nil}, refusal.Audience},
		"without sub":                   {map[string]any{"sub": nil}, refusal.ClaimMissing},
		"sub as a number":               {map[string]any{"sub": 1}, refusal.Malformed},
		"long sub":                      {map[string]any{"sub": strings.Repeat("a", 300)}, refusal.ClaimMissing},
		"without jti":                   {map[string]any{"jti": nil}, refusal.ClaimMissing},
		"long jti":                      {map[string]any{"jti": strings.Repeat("a", 300)}, refusal.ClaimMissing},
		"without roles":                 {map[string]any{roles: nil}, refusal.RolesMissing},
		"roles of another project":      {map[string]any{roles: nil, "urn:zitadel:iam:org:project:1:roles": map[string]any{"device": map[string]string{"1": "a"}}}, refusal.RolesMissing},
		"the generic claim of roles":    {map[string]any{roles: nil, "urn:zitadel:iam:org:project:roles": map[string]any{"device": map[string]string{"1": "a"}}}, refusal.RolesMissing},
		"roles as a list":               {map[string]any{roles: []string{"device"}}, refusal.RolesShape},
		"roles as text":                 {map[string]any{roles: "device"}, refusal.RolesShape},
		"role without organisation":     {map[string]any{roles: map[string]any{"device": map[string]string{}}}, refusal.RolesShape},
		"role as true":                  {map[string]any{roles: map[string]any{"device": true}}, refusal.RolesShape},
		"role as null":                  {map[string]any{roles: map[string]any{"device": nil}}, refusal.RolesShape},
		"organisation with a number":    {map[string]any{roles: map[string]any{"device": map[string]int{"1": 1}}}, refusal.RolesShape},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, issuer.Token(t, "device-1", "device", row.change), row.want) })
	}
}

func TestVerifiedTokenSaysWhatWasSigned(t *testing.T) {
	issuer := issuertest.New(t)
	v := token.NewVerifier(issuer.URL, issuertest.Project, loaded(t, token.KeySetOptions{Issuer: issuer.URL}))
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	got, err := v.Verify(t.Context(), issuer.Token(t, "device-1", "", map[string]any{
		"jti": "the-id", "exp": end.Unix(),
		issuertest.RolesClaim: map[string]any{"z": map[string]string{"1": "a"}, "device": map[string]string{"1": "a"}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := token.Token{KeyID: issuer.KeyID(), ID: "the-id", Subject: "device-1", Expires: end, Roles: []string{"device", "z"}}
	if got.KeyID != want.KeyID || got.ID != want.ID || got.Subject != want.Subject || !got.Expires.Equal(want.Expires) || !slices.Equal(got.Roles, want.Roles) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// part encodes one part of a JWS by hand.
func part(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func TestVerifySignatures(t *testing.T) {
	issuer := issuertest.New(t)
	rsaID := issuer.KeyID()
	issuer.Rotate(t, jose.ES256)
	ecID := issuer.KeyID()
	issuer.Rotate(t, jose.EdDSA)

	own := issuertest.NewKey(t, jose.RS256)
	encryption := issuertest.NewKey(t, jose.RS256)
	issuer.Publish(jose.JSONWebKey{Key: encryption.Public(), KeyID: "encryption", Use: "enc"})
	pss := issuertest.NewKey(t, jose.RS256)
	issuer.Publish(jose.JSONWebKey{Key: pss.Public(), KeyID: "pss", Algorithm: "PS256", Use: "sig"})
	free := issuertest.NewKey(t, jose.RS256)
	issuer.Publish(jose.JSONWebKey{Key: free.Public(), KeyID: "free"})
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	issuer.Publish(jose.JSONWebKey{Key: &small.PublicKey, KeyID: "small", Algorithm: "RS256", Use: "sig"})
	issuer.Publish(map[string]string{"kty": "AKP", "kid": "of-the-future", "alg": "ML-DSA-44", "use": "sig"})
	issuer.Publish("not a key")
	v := token.NewVerifier(issuer.URL, issuertest.Project, loaded(t, token.KeySetOptions{Issuer: issuer.URL}))

	claims := issuer.Claims("device-1", "device")
	signed := func(algorithm jose.SignatureAlgorithm, key any, id string) string {
		return issuertest.Sign(t, issuertest.NewSigner(t, algorithm, key, id), claims)
	}
	good := issuer.Token(t, "device-1", "device", nil)
	header, payload, signature := cut(t, good)
	public, err := x509.MarshalPKIXPublicKey(free.Public())
	if err != nil {
		t.Fatal(err)
	}
	admin := maps.Clone(claims)
	admin["sub"] = "device-2"

	for name, row := range map[string]struct {
		raw  string
		want refusal.Reason
	}{
		"good":                         {good, ""},
		"key without alg and use":      {signed(jose.RS256, free, "free"), ""},
		"none":                         {"", refusal.NoToken},
		"too long":                     {strings.Repeat("a", token.MaxSize+1), refusal.TokenTooLong},
		"a word":                       {"hunter2", refusal.Malformed},
		"opaque token":                 {strings.Repeat("a", 104), refusal.Malformed},
		"dots":                         {"..", refusal.Algorithm},
		"JSON serialization":           {`{"payload":"` + payload + `","protected":"` + header + `","signature":"` + signature + `"}`, refusal.Malformed},
		"detached payload":             {header + ".." + signature, refusal.Signature},
		"changed payload":              {header + "." + part(t, admin) + "." + signature, refusal.Signature},
		"no signature":                 {header + "." + payload + ".", refusal.Signature},
		"unsigned":                     {part(t, map[string]string{"alg": "none", "kid": rsaID}) + "." + payload + ".", refusal.Algorithm},
		"public key as HMAC secret":    {signed(jose.HS256, public, "free"), refusal.Algorithm},
		"PS256":                        {signed(jose.PS256, pss, "pss"), refusal.Algorithm},
		"RS256 with a key for PS256":   {signed(jose.RS256, pss, "pss"), refusal.Algorithm},
		"RS512":                        {signed(jose.RS512, free, "free"), refusal.Algorithm},
		"RS256 with the id of another": {signed(jose.RS256, own, rsaID), refusal.Signature},
		"RS256 with an EC key's id":    {signed(jose.RS256, own, ecID), refusal.Algorithm},
		"without key id":               {signed(jose.RS256, own, ""), refusal.KeyUnknown},
		"long key id":                  {signed(jose.RS256, own, strings.Repeat("k", 300)), refusal.KeyUnknown},
		"unknown key id":               {signed(jose.RS256, own, "mine"), refusal.KeyUnknown},
		"key for encryption":           {signed(jose.RS256, encryption, "encryption"), refusal.KeyUnknown},
		"small key":                    {signed(jose.RS256, small, "small"), refusal.KeyUnknown},
		"own key in the header":        {withOwnKey(t, own, rsaID, claims), refusal.Signature},
		"critical extension":           {part(t, map[string]any{"alg": "EdDSA", "kid": issuer.KeyID(), "crit": []string{"x"}, "x": 1}) + "." + payload + "." + signature, refusal.Malformed},
		"claim twice":                  {signBytes(t, issuertest.NewSigner(t, jose.RS256, free, "free"), `{"iss":"`+issuer.URL+`","sub":"a","sub":"b"}`), refusal.Malformed},
		"payload that is no object":    {signBytes(t, issuertest.NewSigner(t, jose.RS256, free, "free"), `["x"]`), refusal.Malformed},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, row.raw, row.want) })
	}
}

func cut(t *testing.T, raw string) (header, payload, signature string) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	return parts[0], parts[1], parts[2]
}

func signBytes(t *testing.T, signer jose.Signer, payload string) string {
	t.Helper()
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// withOwnKey signs with key, brings the public key along in the header, and
// names a key of the issuer.
func withOwnKey(t *testing.T, key any, id string, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{EmbedJWK: true}).WithHeader("kid", id))
	if err != nil {
		t.Fatal(err)
	}
	return issuertest.Sign(t, signer, claims)
}

func TestEveryAlgorithmOfTheIssuer(t *testing.T) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			issuer := issuertest.New(t)
			issuer.Rotate(t, algorithm)
			v := token.NewVerifier(issuer.URL, issuertest.Project, loaded(t, token.KeySetOptions{Issuer: issuer.URL}))
			refused(t, v, issuer.Token(t, "device-1", "device", nil), "")
		})
	}
}

func FuzzVerify(f *testing.F) {
	issuer := issuertest.New(f)
	v := token.NewVerifier(issuer.URL, issuertest.Project, loaded(f, token.KeySetOptions{Issuer: issuer.URL, MinInterval: time.Hour}))
	good := issuer.Token(f, "device-1", "device", nil)
	for _, seed := range []string{good, good + ".", good[:len(good)/2], "", "..", "eyJhbGciOiJub25lIn0.e30.", "a.b.c", "{}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := v.Verify(t.Context(), raw)
		if got == nil {
			t.Fatal("no token")
		}
		// Only the issuer can make a token that is accepted. What is signed is the
		// text before the last dot; the bits that pad the signature are free.
		if signed := good[:strings.LastIndex(good, ".")+1]; err == nil && !strings.HasPrefix(raw, signed) {
			t.Errorf("accepted %q", raw)
		}
		if err != nil && refusal.ReasonOf(err) == refusal.Internal {
			t.Errorf("not a refusal: %v", err)
		}
	})
}
