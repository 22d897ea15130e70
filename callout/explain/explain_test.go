package explain_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/callout/explain"
	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/protocol"
)

// newOptions returns how an issuer's tokens are decided about.
func newOptions(t *testing.T, issuer *issuertest.Issuer) explain.Options {
	t.Helper()
	keys := token.NewKeySet(token.KeySetOptions{Issuer: issuer.URL, MinInterval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	go keys.Run(ctx)
	<-keys.Loaded()
	return explain.Options{
		Issuer: issuer.URL, Project: issuertest.Project, Keys: keys,
		Rules: rules.Builtin("device", "fleet-admin"), ExpiryJitter: 30 * time.Second,
	}
}

func TestEveryStepIsTold(t *testing.T) {
	issuer := issuertest.New(t)
	options := newOptions(t, issuer)
	raw := issuer.Token(t, "device-1", "device", nil)
	e := explain.Token(t.Context(), raw, options)
	if e.Refusal != nil {
		t.Fatal(e.Refusal)
	}
	text := write(t, &e)
	for _, part := range []string{
		issuer.KeyID(), "RS256", issuer.URL, issuertest.Project, "device-1", `"device": role "device" is granted template device, id from claim "sub"`,
		"DEVICES", "publish    " + protocol.HeartbeatSubject("device-1"), "subscribe  " + protocol.DoorbellSubject("device-1"),
		"or up to 30s before", "admitted as device device-1",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
	for _, s := range e.Steps {
		if s.Outcome != explain.Passed || s.Text == "" {
			t.Errorf("%+v", s)
		}
	}
}

func TestExplanationEndsWhereTheDecisionDoes(t *testing.T) {
	issuer := issuertest.New(t)
	options := newOptions(t, issuer)
	claims := func(change map[string]any) string { return issuer.Token(t, "device-1", "device", change) }
	good := claims(nil)
	signature := good[strings.LastIndex(good, ".")+1:]
	stranger := issuertest.NewSigner(t, jose.RS256, issuertest.NewKey(t, jose.RS256), issuer.KeyID())
	unknown := issuertest.NewSigner(t, jose.RS256, issuertest.NewKey(t, jose.RS256), "invented")
	symmetric := issuertest.NewSigner(t, jose.HS256, []byte("0123456789012345678901234567890123456789"), issuer.KeyID())
	elliptic := issuertest.NewSigner(t, jose.ES256, issuertest.NewKey(t, jose.ES256), issuer.KeyID())
	long := time.Now().Add(-time.Hour).Unix()
	for name, row := range map[string]struct {
		raw    string
		step   string
		reason refusal.Reason
		// skipped are steps before that were not taken.
		skipped []string
	}{
		"nothing":                {"", "token", refusal.NoToken, nil},
		"garbage":                {"x", "token", refusal.Malformed, nil},
		"too long":               {good + strings.Repeat("x", token.MaxSize), "token", refusal.TokenTooLong, nil},
		"unknown key":            {issuertest.Sign(t, unknown, issuer.Claims("device-1", "device")), "kid", refusal.KeyUnknown, nil},
		"symmetric":              {issuertest.Sign(t, symmetric, issuer.Claims("device-1", "device")), "algorithm", refusal.Algorithm, []string{"kid"}},
		"another algorithm":      {issuertest.Sign(t, elliptic, issuer.Claims("device-1", "device")), "algorithm", refusal.Algorithm, nil},
		"signed by a stranger":   {issuertest.Sign(t, stranger, issuer.Claims("device-1", "device")), "signature", refusal.Signature, nil},
		"of another issuer":      {claims(map[string]any{"iss": "http://other"}), "issuer", refusal.Issuer, nil},
		"for another project":    {claims(map[string]any{"aud": []string{"1"}}), "audience", refusal.Audience, nil},
		"without an id":          {claims(map[string]any{"jti": nil}), "claims", refusal.ClaimMissing, nil},
		"expired":                {claims(map[string]any{"exp": long}), "expiry", refusal.Expired, nil},
		"not yet valid":          {claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), "expiry", refusal.NotYetValid, nil},
		"without roles":          {claims(map[string]any{issuertest.RolesClaim: nil}), "roles", refusal.RolesMissing, nil},
		"roles of another shape": {claims(map[string]any{issuertest.RolesClaim: []string{"device"}}), "roles", refusal.RolesShape, nil},
		"another role":           {issuer.Token(t, "device-1", "billing", nil), "rule", refusal.RoleNone, nil},
		"both roles":             {issuertest.Sign(t, signer(t, issuer), issuer.Claims("device-1", "device", "fleet-admin")), "rule", refusal.RoleAmbiguous, nil},
		"a wildcard":             {issuer.Token(t, "*", "device", nil), "id", refusal.InvalidID, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := explain.Token(t.Context(), row.raw, options)
			if got := refusal.ReasonOf(e.Refusal); got != row.reason {
				t.Fatalf("refused for %q, want %q: %v", got, row.reason, e.Refusal)
			}
			before := true
			for _, s := range e.Steps {
				want := explain.Skipped
				switch {
				case s.Name == row.step:
					want, before = explain.Failed, false
				case before && !slices.Contains(row.skipped, s.Name):
					want = explain.Passed
				}
				if s.Outcome != want || (s.Text == "") != (want == explain.Skipped) {
					t.Errorf("%+v, want %s", s, want)
				}
			}
			if before {
				t.Errorf("there is no step %q", row.step)
			}
			text := write(t, &e)
			if !strings.HasSuffix(text, "\nrefused: "+string(row.reason)+"\n") {
				t.Errorf("it ends otherwise:\n%s", text)
			}
			for _, secret := range []string{row.raw, signature} {
				if len(secret) > 20 && strings.Contains(text, secret) {
					t.Error("the token is written")
				}
			}
			for part := range strings.SplitSeq(row.raw, ".") {
				if len(part) > 20 && strings.Contains(text, part) {
					t.Error("a part of the token is written")
				}
			}
		})
	}
}

// A reason that lies in the token and belongs to no step would be told at the
// wrong place.
func TestEveryReasonHasAStep(t *testing.T) {
	elsewhere := []refusal.Reason{refusal.BadRequest, refusal.Stale, refusal.Shed, refusal.Internal, "denied", "throttled", "too_often"}
	for _, reason := range refusal.Reasons() {
		if has := explain.HasStep(reason); has == slices.Contains(elsewhere, reason) {
			t.Errorf("%s has a step: %v", reason, has)
		}
	}
}

func signer(t *testing.T, issuer *issuertest.Issuer) jose.Signer {
	t.Helper()
	key := issuertest.NewKey(t, jose.RS256)
	issuer.Publish(jose.JSONWebKey{Key: key.Public(), KeyID: "further", Algorithm: string(jose.RS256), Use: "sig"})
	return issuertest.NewSigner(t, jose.RS256, key, "further")
}

func write(t *testing.T, e *explain.Explanation) string {
	t.Helper()
	var text bytes.Buffer
	if err := e.Write(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
