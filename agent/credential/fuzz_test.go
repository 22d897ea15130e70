package credential

import (
	"errors"
	"strings"
	"testing"
)

func FuzzParseAnswer(f *testing.F) {
	f.Add(200, []byte(`{"access_token":"a.b.c","token_type":"Bearer","expires_in":1}`))
	f.Add(200, []byte(`{"access_token":"eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJ4IiwiZXhwIjoxfQ.AAAA"}`))
	f.Add(200, []byte(`{"access_token":1}`))
	f.Add(400, []byte(`{"error":"invalid_client"}`))
	f.Add(500, []byte(`{"error":"server_error"}`))
	f.Add(502, []byte(`<html>`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		token, err := parseAnswer(status, body)
		var refusal *Refusal
		switch {
		case err == nil && (token.ID == "" || token.Secret() == "" || status != 200):
			t.Errorf("accepted %d %q as %+v", status, body, token)
		case err != nil && !errors.As(err, &refusal) && !errors.Is(err, ErrAnswer) && !errors.Is(err, ErrUnreachable):
			t.Errorf("error %v is of no kind", err)
		case err != nil && len(err.Error()) > 1000:
			t.Errorf("error has %d bytes", len(err.Error()))
		}
		if err == nil && strings.Contains(token.String(), token.Secret()) {
			t.Errorf("%v shows itself", token)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte(`{"type":"serviceaccount","keyId":"1","key":"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n","userId":"device-1"}`))
	f.Add([]byte(`{"type":"serviceaccount","keyId":"1","key":"","userId":"device-1"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := ParseKey(data)
		if err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("error %v is of no kind", err)
		}
		if err == nil && (key.ID == "" || key.User == "" || key.private == nil) {
			t.Errorf("accepted %q", data)
		}
	})
}
