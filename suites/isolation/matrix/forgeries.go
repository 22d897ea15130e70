package matrix

import (
	"fmt"
	"strings"
	"time"

	"github.com/seatrial/seatrial/protocol"
)

// textForgeries are what is no signed token at all.
func textForgeries(t *Target) []forgery {
	return []forgery{
		text("no token", noToken, ""),
		text("the victim's name", malformed, string(t.Victim)),
		text("an opaque token", malformed, "wL7dTf0u5n1Qm3sYxkVb2oRj8aHcEzGp4iNq9tUe6DyXvPlKr_M0JhBfSgCwOtZaIuWQ"),
		text("a personal access token", malformed, "dEC4Ni8bVQzJ7x3GmKqTfYpL5sWhRu9aXoZ1tPvC2nBkHgJe"),
		text("two parts", malformed, "eyJhbGciOiJSUzI1NiJ9.e30"),
		text("five parts", malformed, "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d"),
		text("dots", algorithm, ".."),
		text("what is no base64", malformed, "!.!.!"),
		text("a token in JSON", malformed, `{"payload":"e30","protected":"eyJhbGciOiJSUzI1NiJ9","signature":"AA"}`),
		text("more than is looked at", tokenTooLong, strings.Repeat("x", 9<<10)),
		text("more than a line", tooLong, strings.Repeat("x", 2*protocol.MaxControlLine)),
		text("a line's end", malformed, "x\r\nPUB "+protocol.BucketDesired.Subject(t.Victim)+" 0\r\n\r\n"),
	}
}

// signatureForgeries are tokens that the issuer did not sign, or not so.
func signatureForgeries() []forgery {
	renamed := func(parts [3]string, body claims, s *scene) (string, error) {
		text, err := unsigned(header{}, body.with(claims{"sub": string(s.Victim)}))
		return parts[0] + "." + strings.Split(text, ".")[1] + "." + parts[2], err
	}
	all := []forgery{
		tampered("a good token under the victim's name", signature, renamed),
		tampered("a good token of an admin", signature, func(parts [3]string, body claims, s *scene) (string, error) {
			text, err := unsigned(header{}, body.with(claims{s.rolesClaim(): granted(string(protocol.RoleAdmin))}))
			return parts[0] + "." + strings.Split(text, ".")[1] + "." + parts[2], err
		}),
		tampered("a good token without its signature", signature, func(parts [3]string, _ claims, _ *scene) (string, error) {
			return parts[0] + "." + parts[1] + ".", nil
		}),
		tampered("a good token with half its signature", signature, func(parts [3]string, _ claims, _ *scene) (string, error) {
			return parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])/2], nil
		}),
		tampered("a good token twice", malformed, func(parts [3]string, _ claims, _ *scene) (string, error) {
			return strings.Join(parts[:], ".") + "." + strings.Join(parts[:], "."), nil
		}),
	}
	for _, none := range []string{"none", "None", "NONE", "nOnE", ""} {
		all = append(all, tampered(fmt.Sprintf("algorithm %q", none), algorithm, func(_ [3]string, body claims, s *scene) (string, error) {
			text, err := unsigned(header{"alg": none, "typ": "JWT"}, body.with(claims{"sub": string(s.Victim)}))
			return text + ".", err
		}))
	}
	// An issuer's key signs with what it is published for, and nobody signs with
	// what everybody knows.
	for _, other := range []string{"RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256"} {
		all = append(all, forged("the issuer's key with algorithm "+other, algorithm, header{"alg": other}, nil))
	}
	for _, form := range []string{"in PEM", "in PEM without its end of line", "in DER", "in PKCS#1", "by its modulus"} {
		all = append(all, forgery{"HS256 with the issuer's public key " + form, algorithm, SigningKey, forgeMAC(form)})
	}
	all = append(all,
		forgery{"a stranger's key under the issuer's id", signature, SigningKey, strangers(nil, "")},
		forgery{"a stranger's key under its own id", keyUnknown, "", strangers(header{"kid": "mine"}, "")},
		forgery{"a stranger's key in the header", keyUnknown, "", strangers(header{"kid": "mine"}, "jwk")},
		forgery{"a stranger's key in the header under the issuer's id", signature, SigningKey, strangers(nil, "jwk")},
		forgery{"a stranger's keys by an address", signature, SigningKey, strangers(header{"jku": "http://127.0.0.1:1/keys"}, "")},
		forgery{"a stranger's certificate by an address", signature, SigningKey, strangers(header{"x5u": "http://127.0.0.1:1/x"}, "")},
	)
	return append(all,
		forged("no key id", keyUnknown, header{"kid": nil}, nil),
		forged("an empty key id", keyUnknown, header{"kid": ""}, nil),
		forged("a key id that is a path", keyUnknown, header{"kid": "../../../../dev/null"}, nil),
		forged("a key id that is a query", keyUnknown, header{"kid": "' OR 1=1 --"}, nil),
		forged("a key id that is long", keyUnknown, header{"kid": strings.Repeat("k", 1<<10)}, nil),
		forged("a key id that is a number", malformed, header{"kid": 1}, nil),
		forged("a header that is critical and unknown", malformed, header{"crit": []string{"x"}, "x": true}, nil),
	)
}

// claimForgeries are tokens that the issuer signed for something else.
func claimForgeries(t *Target) []forgery {
	now := time.Now()
	return []forgery{
		forged("of another issuer", issuer, nil, claims{"iss": "http://sso.example.org"}),
		forged("of an issuer with a slash", issuer, nil, claims{"iss": t.Issuer + "/"}),
		forged("of an issuer in capitals", issuer, nil, claims{"iss": strings.ToUpper(t.Issuer)}),
		forged("of no issuer", issuer, nil, claims{"iss": nil}),
		forged("of a list of issuers", malformed, nil, claims{"iss": []string{t.Issuer}}),
		forged("for another project", audience, nil, claims{"aud": []string{"300000000000000009"}}),
		forged("for the client alone", audience, nil, claims{"aud": []string{string(t.Victim)}}),
		forged("for a project that begins like it", audience, nil, claims{"aud": []string{t.Project + "0"}}),
		forged("for the beginning of the project", audience, nil, claims{"aud": t.Project[:len(t.Project)-1]}),
		forged("for nobody", audience, nil, claims{"aud": nil}),
		forged("for an empty list", audience, nil, claims{"aud": []string{}}),
		forged("for an object", malformed, nil, claims{"aud": map[string]any{t.Project: true}}),
		forged("expired an hour ago", expired, nil, claims{"exp": now.Add(-time.Hour).Unix()}),
		forged("expired just now", expired, nil, claims{"exp": now.Add(-time.Second).Unix()}),
		forged("expired before all time", expired, nil, claims{"exp": -1}),
		forged("without an end", claimMissing, nil, claims{"exp": nil}),
		forged("with an end in words", malformed, nil, claims{"exp": "never"}),
		forged("not valid yet", notYetValid, nil, claims{"nbf": now.Add(time.Hour).Unix()}),
		forged("issued tomorrow", notYetValid, nil, claims{"iat": now.Add(24 * time.Hour).Unix(), "exp": now.Add(25 * time.Hour).Unix()}),
		forged("without when it was issued", claimMissing, nil, claims{"iat": nil}),
		forged("without an id", claimMissing, nil, claims{"jti": nil}),
		forged("an id token", claimMissing, nil, claims{
			"jti": nil, "exp": now.Unix(), "auth_time": now.Unix(), "azp": string(t.Victim), "amr": []string{"pwd"}, "at_hash": "x",
		}),
	}
}

// roleForgeries are tokens whose bearer is nothing in the project.
func roleForgeries(t *Target) []forgery {
	claim, device := t.rolesClaim(), string(protocol.RoleDevice)
	organisation := map[string]any{"300000000000000001": "fleet.example.org"}
	return []forgery{
		forged("without roles", rolesMissing, nil, claims{claim: nil}),
		forged("with a role of another project", rolesMissing, nil, claims{claim: nil, "urn:zitadel:iam:org:project:300000000000000009:roles": granted(device)}),
		forged("with roles of no project", rolesMissing, nil, claims{claim: nil, "urn:zitadel:iam:org:project:roles": granted(device)}),
		forged("with a role of its own naming", rolesMissing, nil, claims{claim: nil, "roles": []string{device}, "role": device, "scope": device, "groups": []string{device}}),
		forged("with no role", roleNone, nil, claims{claim: granted()}),
		forged("with another role", roleNone, nil, claims{claim: granted("operator")}),
		forged("with a role in capitals", roleNone, nil, claims{claim: granted(strings.ToUpper(device))}),
		forged("with a role that begins like it", roleNone, nil, claims{claim: granted(device + "s")}),
		forged("with both roles", roleAmbiguous, nil, claims{claim: granted(device, string(protocol.RoleAdmin))}),
		forged("with roles in a list", rolesShape, nil, claims{claim: []string{device}}),
		forged("with a role as text", rolesShape, nil, claims{claim: device}),
		forged("with a role that is true", rolesShape, nil, claims{claim: map[string]any{device: true}}),
		forged("with a role that is nothing", rolesShape, nil, claims{claim: map[string]any{device: nil}}),
		forged("with a role in no organisation", rolesShape, nil, claims{claim: map[string]any{device: map[string]any{}}}),
		forged("with a role in an organisation by number", rolesShape, nil, claims{claim: map[string]any{device: map[string]any{"1": 1}}}),
		forged("with a role that is a list", rolesShape, nil, claims{claim: map[string]any{device: []any{organisation}}}),
		forged("with roles as a number", rolesShape, nil, claims{claim: 1}),
	}
}

// idForgeries are tokens of bearers whose name would be more than one token of a
// subject, or another's.
func idForgeries(t *Target) (all []forgery) {
	for _, id := range []string{
		"*", ">", "*.x", "a.b", "a.>", ".", "a.", ".a", string(t.Victim) + ".", string(t.Victim) + ".x", string(t.Victim) + " ", " " + string(t.Victim),
		strings.ToUpper(string(t.Victim)), "a b", "a\tb", "a\r\nb", "a\x00b", "$SYS", "$KV", "_INBOX", "-a", "a-", "ä", "a\u200bb", "ａ",
		strings.Repeat("a", 64), "a/b", "a\\b", "a*", "%2a",
	} {
		for _, role := range []protocol.Role{protocol.RoleDevice, protocol.RoleAdmin} {
			all = append(all, forged(fmt.Sprintf("of a %s called %q", role, id), invalidID, nil, claims{"sub": id, t.rolesClaim(): granted(string(role))}))
		}
	}
	return append(all,
		forged("of nobody", claimMissing, nil, claims{"sub": nil}),
		forged("of an empty name", claimMissing, nil, claims{"sub": ""}),
		forged("of a name that is long", claimMissing, nil, claims{"sub": strings.Repeat("a", 1<<10)}),
		forged("of a number", malformed, nil, claims{"sub": 1}),
		forged("of a list", malformed, nil, claims{"sub": []string{string(t.Victim)}}),
	)
}
