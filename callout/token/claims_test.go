package token

import (
	"reflect"
	"testing"

	strict "github.com/go-jose/go-jose/v4/json"
	"github.com/go-json-experiment/json"
)

// What is read as claims, go-jose would have read, too, and as the same.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://sso.example.org","sub":"device-1","aud":["335862139427"],"exp":1900000000,"iat":1.9e9,"nbf":1900000000.5,"jti":"a"}`,
		`{"aud":"335862139427","urn:zitadel:iam:org:project:335862139427:roles":{"device":{"1":"a"}}}`,
		`{"iss":"a","ISS":"b","Iss":"c"}`, `{"iss":"a","iss":"b"}`, `{"a":{"b":1,"b":2}}`, `{"exp":null,"aud":null}`, `{"aud":[null]}`, `{"aud":[1]}`,
		`{"exp":"1900000000"}`, `{"exp":1e999}`, `{"exp":9223372036854775807}`, `{"Others":{"a":1},"Claims":1}`, "{\"sub\":\"\xff\"}", `{"sub":"\ud800"}`, `{"s\u0075b":"a","sub":"b"}`,
		`{} `, `{}{}`, `[]`, `null`, `{"a":[{},[],true,null,"\u0000",-0]}`,
	} {
		f.Add([]byte(seed))
	}
	registered := map[string]bool{"iss": true, "sub": true, "aud": true, "exp": true, "nbf": true, "iat": true, "jti": true}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var got claims
		if json.Unmarshal(payload, &got) != nil {
			return
		}
		var want claims
		var all map[string]any
		if err := strict.Unmarshal(payload, &want.Claims); err != nil {
			t.Fatalf("go-jose does not read the claims: %v", err)
		}
		if err := strict.Unmarshal(payload, &all); err != nil {
			t.Fatalf("go-jose does not read the payload: %v", err)
		}
		for name, value := range all {
			if !registered[name] {
				if want.Others == nil {
					want.Others = make(map[string]any)
				}
				want.Others[name] = value
			}
		}
		if !reflect.DeepEqual(got.Claims, want.Claims) || len(got.Others)+len(want.Others) > 0 && !reflect.DeepEqual(got.Others, want.Others) {
			t.Errorf("got %+v, go-jose reads %+v", got, want)
		}
	})
}
