package redact_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"
	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/framework/redact"
)

const (
	jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJkZXZpY2UtMSIsImV4cCI6MX0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	pat = "Zk3_opaque-personal-access-token-0123456789"
)

func privateKey(t testing.TB) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func seed(t testing.TB) string {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return string(seed)
}

func redactor(t testing.TB) *redact.Redactor {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pat")
	r := redact.New(path)
	if err := os.WriteFile(path, []byte(pat+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSecretsGoAndTheRestStays(t *testing.T) {
	key, nkey := privateKey(t), seed(t)
	escaped, _ := json.Marshal(key)
	cut := key[:len(key)/2]
	for name, c := range map[string]struct{ in, want string }{
		"nothing":          {"level=info device=device-1 ready", "level=info device=device-1 ready"},
		"jwt":              {"token=" + jwt + " rest", "token=[REDACTED] rest"},
		"unsigned jwt":     {jwt[:strings.LastIndex(jwt, ".")+1] + "!", "[REDACTED]!"},
		"seed":             {`"` + nkey + `"`, `"[REDACTED]"`},
		"private key":      {"a\n" + key + "b", "a\n[REDACTED]\nb"},
		"key in JSON":      {`{"key":` + string(escaped) + `,"id":"1"}`, `{"key":"[REDACTED]\n","id":"1"}`},
		"key cut off":      {"x " + cut + "\n", "x [REDACTED]"},
		"key cut, more":    {cut + "\nlevel=info msg=on", "[REDACTED] msg=on"},
		"base64 key":       {"client-key: " + base64.StdEncoding.EncodeToString([]byte(key)), "client-key: [REDACTED]"},
		"bearer":           {"Authorization: Bearer abcdef123456789", "Authorization: Bearer [REDACTED]"},
		"JSON field":       {`{"access_token": "opaque-0123", "expires_in": 3600}`, `{"access_token": "[REDACTED]", "expires_in": 3600}`},
		"environment":      {`"Env": ["DB_PASSWORD=opaque-0123", "LEVEL=info"]`, `"Env": ["DB_PASSWORD=[REDACTED]", "LEVEL=info"]`},
		"kubeconfig":       {"client-key-data: QUJDREVGRw==\nuser: x", "client-key-data: [REDACTED]\nuser: x"},
		"secret file":      {"pat " + pat + ".", "pat [REDACTED]."},
		"secret in base64": {"v: " + base64.StdEncoding.EncodeToString([]byte(pat)), "v: [REDACTED]"},
		"public key stays": {"UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4", "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"},
		"digest stays":     {"sha256:" + strings.Repeat("0f", 32), "sha256:" + strings.Repeat("0f", 32)},
		"two in a row":     {jwt + "," + jwt, "[REDACTED],[REDACTED]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := redactor(t).String(c.in); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestOldContentOfASecretFileStaysSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pat")
	r := redact.New(path)
	for _, value := range []string{"first-secret-value", "second-secret-value"} {
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.String("first-secret-value second-secret-value"); got != "[REDACTED] [REDACTED]" {
		t.Errorf("got %q", got)
	}
}

func TestUnreadableSecretFileIsReported(t *testing.T) {
	if err := redact.New(t.TempDir()).Refresh(); err == nil {
		t.Error("a folder was read as a secret file")
	}
}

// Secrets at any place of a long stream, written in pieces of any size, come out
// as they do from the whole.
func TestStreamEqualsWhole(t *testing.T) {
	r := redactor(t)
	secrets := []string{jwt, pat, privateKey(t), seed(t), "Bearer 0123456789abcdef"}
	rapid.Check(t, func(t *rapid.T) {
		var whole strings.Builder
		for range rapid.IntRange(1, 6).Draw(t, "parts") {
			filler := rapid.StringMatching(`[a-z0-9 =:"\n]{1,20}`).Draw(t, "filler")
			whole.WriteString(strings.Repeat(filler, rapid.IntRange(0, 4000).Draw(t, "times")))
			whole.WriteString(" " + rapid.SampledFrom(secrets).Draw(t, "secret") + "\n")
		}
		var out bytes.Buffer
		stream := r.Writer(&out)
		for rest := whole.String(); rest != ""; {
			n := min(len(rest), rapid.IntRange(1, 50000).Draw(t, "chunk"))
			if _, err := stream.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
		if want := r.String(whole.String()); out.String() != want {
			t.Fatalf("stream differs from whole: %d bytes, want %d", out.Len(), len(want))
		}
		for _, secret := range []string{jwt, pat, secrets[2], secrets[3]} {
			if strings.Contains(out.String(), secret) {
				t.Fatalf("secret passed: %s", secret)
			}
		}
	})
}

func TestTokenLongerThanTheBufferPassesNowhere(t *testing.T) {
	r := redact.New()
	long := "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("QUJD", 1_000_000) + ".c2ln"
	var out bytes.Buffer
	stream := r.Writer(&out)
	for i := 0; i < len(long); i += 1000 {
		if _, err := stream.Write([]byte(long[i:min(len(long), i+1000)])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stream.Write([]byte(" after")); err != nil {
		t.Fatal(err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "QUJD") || !strings.HasSuffix(got, redact.Mark+" after") {
		t.Errorf("got %d bytes ending %q", len(got), got[max(0, len(got)-40):])
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("before "+jwt+" after"), uint16(3), uint32(97_000))
	f.Add([]byte(privateKey(f)), uint16(100), uint32(98_300))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nabc"), uint16(1), uint32(65_536))
	f.Add([]byte(seed(f)), uint16(7), uint32(0))
	r := redact.New()
	r.AddSecret(pat)
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16, padding uint32) {
		// Enough in front that the stream has to cut somewhere in data.
		whole := append(bytes.Repeat([]byte("- "), int(padding%100_000)/2), data...)
		whole = append(whole, " "+pat+" "+jwt...)
		var out bytes.Buffer
		stream := r.Writer(&out)
		for rest := whole; len(rest) > 0; {
			n := min(len(rest), int(chunk)+1)
			if _, err := stream.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := stream.Close(); err != nil {
			t.Fatal(err)
		}
		if want := r.Bytes(whole); !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("stream differs from whole")
		}
		if bytes.Contains(out.Bytes(), []byte(pat)) || bytes.Contains(out.Bytes(), []byte(jwt)) {
			t.Fatal("a secret passed")
		}
	})
}
