package token

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
)

// once keeps no connection.
var once = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// published are the keys of an issuer, by their ids.
type published map[string]jose.JSONWebKey

func (p published) Key(_ context.Context, id string) (jose.JSONWebKey, error) {
	if key, ok := p[id]; ok {
		return key, nil
	}
	return jose.JSONWebKey{}, refusal.New(refusal.KeyUnknown, "there is none")
}

// A remembered token is as good as on the first day, and no better: whatever made
// it valid must still hold.
func TestRememberedTokenIsNoBetterThanANewOne(t *testing.T) {
	for _, algorithm := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		t.Run(string(algorithm), func(t *testing.T) {
			issuer := issuertest.New(t)
			issuer.Rotate(t, algorithm)
			keys, err := fetch(t.Context(), once, issuer.URL)
			if err != nil {
				t.Fatal(err)
			}
			now := published(keys)
			v := NewVerifier(issuer.URL, issuertest.Project, now)
			raw, id := issuer.Token(t, "device-1", "device", nil), issuer.KeyID()
			verify := func(want refusal.Reason) {
				t.Helper()
				got, err := v.Verify(t.Context(), raw)
				if refusal.ReasonOf(err) != want || want == "" && (got.Subject != "device-1" || got.KeyID != id || len(got.Roles) != 1) {
					t.Fatalf("got %+v, %v, want reason %q", got, err, want)
				}
			}
			verify("")
			again := testing.AllocsPerRun(10, func() { verify("") })
			anew := testing.AllocsPerRun(10, func() { v.memory.tokens.Purge(); verify("") })
			if again > anew/4 {
				t.Errorf("a remembered token costs %v allocations, and %v without memory: it was verified anew", again, anew)
			}
			original := now[id]

			delete(now, id)
			verify(refusal.KeyUnknown)
			now[id] = original
			verify("")

			other := issuertest.NewKey(t, algorithm)
			now[id] = jose.JSONWebKey{Key: other.Public(), KeyID: id, Algorithm: original.Algorithm, Use: original.Use}
			verify(refusal.Signature)
			now[id] = original
			verify("")

			wrong := original
			wrong.Algorithm = string(jose.PS256)
			now[id] = wrong
			verify(refusal.Algorithm)
			now[id] = original
			verify("")

			v.now = func() time.Time { return time.Now().Add(24 * time.Hour) }
			verify(refusal.Expired)
		})
	}
}

func TestRefusedTokensAreNotRemembered(t *testing.T) {
	issuer := issuertest.New(t)
	keys, err := fetch(t.Context(), once, issuer.URL)
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(issuer.URL, issuertest.Project, published(keys))
	for _, change := range []map[string]any{{"aud": "x"}, {issuertest.RolesClaim: nil}, {"exp": 1}} {
		if _, err := v.Verify(t.Context(), issuer.Token(t, "device-1", "device", change)); err == nil {
			t.Errorf("%v was accepted", change)
		}
	}
	if n := v.memory.tokens.Len(); n > 0 {
		t.Errorf("%d tokens are remembered", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	issuer := issuertest.New(b)
	issuer.Rotate(b, jose.RS256)
	keys, err := fetch(b.Context(), once, issuer.URL)
	if err != nil {
		b.Fatal(err)
	}
	raw := issuer.Token(b, "device-1", "device", nil)
	for name, forget := range map[string]bool{"new": true, "remembered": false} {
		b.Run(name, func(b *testing.B) {
			v := NewVerifier(issuer.URL, issuertest.Project, published(keys))
			b.ReportAllocs()
			for b.Loop() {
				if forget {
					v.memory.tokens.Purge()
				}
				if _, err := v.Verify(b.Context(), raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
