package redact_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/framework/redact"
)

// Whoever waits for a build reads the log while it goes on.
func TestRecordsPassAtOnceWithoutSecrets(t *testing.T) {
	t.Parallel()
	r := redact.New()
	r.AddSecret(pat)
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(r.Records(&out), nil))
	log.Info("building", "packages", 7)
	if got := out.String(); !strings.HasSuffix(got, "packages=7\n") {
		t.Fatalf("after one record: %q", got)
	}
	out.Reset()
	log.Info("got", "pat", pat, "token", jwt, "key", privateKey(t))
	got := out.String()
	if strings.Count(got, redact.Mark) != 3 || strings.Contains(got, pat) || strings.Contains(got, jwt) || strings.Contains(got, "BEGIN") {
		t.Fatalf("a secret passed: %q", got)
	}
}
