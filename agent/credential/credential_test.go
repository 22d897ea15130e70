package credential_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/agent/credential"
	"github.com/seatrial/seatrial/agent/internal/issuertest"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func source(t *testing.T, issuer *issuertest.Issuer) *credential.Source {
	t.Helper()
	key, err := credential.ReadKey(issuer.KeyFile(t, "device-1"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := credential.NewSource(issuer.URL, issuertest.Project, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A device that has told its issuer of a key must not come back without it.
func TestPowerCutTakesNoKeyBack(t *testing.T) {
	disk := durabletest.New(t)
	path, pendingPath := filepath.Join(disk.Path, "key.json"), filepath.Join(disk.Path, "key.json.pending")
	for _, id := range []string{"1", "2"} {
		pending, err := credential.Generate("device-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := pending.SavePending(pendingPath); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if got, err := credential.ReadPending(pendingPath); err != nil || !got.Same(pending) {
			t.Errorf("after a power cut the pending key is another (%v)", err)
		}
		if err := pending.Named(id, time.Time{}).Save(path); err != nil {
			t.Fatal(err)
		}
		disk.CutPower()
		if got, err := credential.ReadKey(path); err != nil || !got.Same(pending) || got.ID != id {
			t.Errorf("after a power cut the key is not %q (%v)", id, err)
		}
	}
}

func TestMint(t *testing.T) {
	issuer := issuertest.New(t)
	s := source(t, issuer)
	first, err := s.Mint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Mint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if first.ID == second.ID || first.Secret() == second.Secret() {
		t.Error("two mints gave the same token")
	}
	if left := time.Until(first.Expiry); left < 50*time.Minute || left > time.Hour {
		t.Errorf("the token ends in %s, want an hour", left)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, first); strings.Contains(text, first.Secret()) || !strings.Contains(text, first.ID) {
			t.Errorf("%s shows %s", format, text)
		}
	}
}

func TestMintFails(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		want   error
		code   string
	}{
		{"older server", 500, `{"error":"server_error"}`, nil, "server_error"},
		{"newer server", 400, `{"error":"invalid_client","error_description":"no"}`, nil, "invalid_client"},
		{"deactivated", 400, `{"error":"invalid_request","error_description":"Errors.User.NotActive"}`, nil, "invalid_request"},
		{"instance not found", 404, "Instance not found", nil, ""},
		{"redirect", 302, "", nil, ""},
		{"too many", 429, `{"error":"slow_down"}`, credential.ErrUnreachable, ""},
		{"nobody behind the proxy", 502, "<html>", credential.ErrUnreachable, ""},
		{"no database", 503, `{"code":14}`, credential.ErrUnreachable, ""},
		{"slow behind the proxy", 504, "", credential.ErrUnreachable, ""},
		{"no token", 200, `{"token_type":"Bearer"}`, credential.ErrAnswer, ""},
		{"opaque token", 200, `{"access_token":"opaque"}`, credential.ErrAnswer, ""},
		{"no JSON", 200, `<html>`, credential.ErrAnswer, ""},
	}
	issuer := issuertest.New(t)
	s := source(t, issuer)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			issuer.Fail(func(w http.ResponseWriter) bool {
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(test.body))
				return true
			})
			_, err := s.Mint(t.Context())
			var refusal *credential.Refusal
			switch {
			case test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error %v, want %v", err, test.want)
			case test.want == nil && (!errors.As(err, &refusal) || refusal.Code != test.code || refusal.Status != test.status):
				t.Errorf("error %v, want a refusal %d %s", err, test.status, test.code)
			}
		})
	}
}

func TestMintWithoutAnIssuer(t *testing.T) {
	issuer := issuertest.New(t)
	key, err := credential.ReadKey(issuer.KeyFile(t, "device-1"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := credential.NewSource("http://127.0.0.1:1", issuertest.Project, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mint(t.Context()); !errors.Is(err, credential.ErrUnreachable) {
		t.Errorf("error %v, want %v", err, credential.ErrUnreachable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Mint(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestReadKeyRefuses(t *testing.T) {
	good, err := os.ReadFile(issuertest.New(t).KeyFile(t, "device-1"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "key.json")
		if err := os.WriteFile(path, content, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	replace := func(before, after string) []byte { return []byte(strings.Replace(string(good), before, after, 1)) }
	for name, path := range map[string]string{
		"missing":             filepath.Join(t.TempDir(), "none"),
		"folder":              t.TempDir(),
		"readable by others":  write(good, 0o644),
		"readable by a group": write(good, 0o640),
		"empty":               write(nil, 0o600),
		"not JSON":            write([]byte("key"), 0o600),
		"data after it":       write(append(good, "{}"...), 0o600),
		"other type":          write(replace("serviceaccount", "application"), 0o600),
		"no user":             write(replace(`"device-1"`, `""`), 0o600),
		"not PEM":             write(replace("-----BEGIN RSA", "-----BEGAN RSA"), 0o600),
		"not a key":           write(replace("MII", "AII"), 0o600),
	} {
		_, err := credential.ReadKey(path)
		if !errors.Is(err, credential.ErrKey) {
			t.Errorf("%s: error %v, want %v", name, err, credential.ErrKey)
			continue
		}
		if strings.Contains(err.Error(), "MII") {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
	}
	if _, err := credential.ReadKey(write(good, 0o400)); err != nil {
		t.Errorf("a key that only its owner may read: %v", err)
	}
}
