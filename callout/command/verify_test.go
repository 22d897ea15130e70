package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatrial/seatrial/callout/command"
	"github.com/seatrial/seatrial/callout/internal/issuertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write writes a file and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// configure writes a configuration of a callout whose seeds are somewhere else.
func configure(t *testing.T, issuer, more string) string {
	t.Helper()
	return write(t, "callout.toml", fmt.Sprintf(`
issuer = %q
project = %q
%s
[nats]
url = "nats://127.0.0.1:4222"
seed_file = "/nowhere/user"
[keys]
account_seed_file = "/nowhere/account"
[http]
address = "127.0.0.1:0"
`, issuer, issuertest.Project, more))
}

func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = command.Run(t.Context(), args, strings.NewReader(stdin), &out, &log)
	return code, out.String(), log.String()
}

func TestVerifyToken(t *testing.T) {
	issuer := issuertest.New(t)
	config := configure(t, issuer.URL, "")
	good, bad := issuer.Token(t, "device-1", "device", nil), issuer.Token(t, "device-1", "billing", nil)
	check := func(t *testing.T, raw string, wantCode int, want, stdin string, args ...string) {
		t.Helper()
		code, out, log := run(t, stdin, append([]string{"verify"}, args...)...)
		if code != wantCode || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %d and %q\n%s\n%s", code, wantCode, want, out, log)
		}
		for part := range strings.SplitSeq(raw, ".") {
			if strings.Contains(out+log, part) {
				t.Error("a part of the token is written")
			}
		}
	}
	check(t, good, 0, "admitted as device device-1", "", "--config", config, "--token-file", write(t, "token", good+"\n"))
	check(t, good, 0, "admitted as device device-1", " "+good, "--config", config, "--token-file", "-")
	check(t, bad, 1, "refused: role_none", "", "--config", config, "--token-file", write(t, "token", bad))
	check(t, good, 1, "refused: token_too_long", good+strings.Repeat("x", 20000), "--config", config, "--token-file", "-")

	rules := write(t, "rules.toml", `[[rule]]
name = "watchers"
role = "billing"
template = "observer"
account = "DEVICES"
id = "sub"
`)
	ruled := configure(t, issuer.URL, fmt.Sprintf("rules_file = %q", rules))
	check(t, bad, 0, "admitted as fleet-observer device-1", bad, "--config", ruled, "--token-file", "-")
	check(t, good, 1, "refused: role_none", good, "--config", ruled, "--token-file", "-")

	issuer.Down(true)
	check(t, good, 1, "refused: keys_unavailable", good, "--config", config, "--token-file", "-")
	// The callout itself would go by the keys that it has on disk.
	keys, err := json.Marshal(map[string]any{"issuer": issuer.URL, "fetched": time.Now(), "keys": issuer.Published()})
	if err != nil {
		t.Fatal(err)
	}
	keeping := configure(t, issuer.URL, fmt.Sprintf("jwks_file = %q", write(t, "jwks.json", string(keys))))
	check(t, good, 0, "admitted as device device-1", good, "--config", keeping, "--token-file", "-")
}

func TestUsage(t *testing.T) {
	config := configure(t, "http://127.0.0.1:1", "")
	for name, row := range map[string]struct {
		args []string
		want string
	}{
		"nothing":              {nil, "usage:"},
		"nothing to verify":    {[]string{"verify"}, "usage:"},
		"no configuration":     {[]string{"verify", "--token-file", "-"}, "usage:"},
		"no token":             {[]string{"verify", "--config", config}, "usage:"},
		"unknown flag":         {[]string{"verify", "--tokens", "-"}, "usage:"},
		"an argument too many": {[]string{"verify", "--config", config, "--token-file", "-", "x"}, "usage:"},
		"missing file":         {[]string{"verify", "--config", config, "--token-file", "/nowhere"}, "/nowhere"},
		"bad configuration":    {[]string{"verify", "--config", write(t, "c.toml", "x = 1"), "--token-file", "-"}, "c.toml: x: is not known"},
		"unknown verb":         {[]string{"explain"}, "usage:"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, log := run(t, "", row.args...)
			if code != 2 || !strings.Contains(log, row.want) || out != "" {
				t.Errorf("exit code %d, want 2 and %q\n%s\n%s", code, row.want, out, log)
			}
		})
	}
	if code, _, log := run(t, "", "--help"); code != 0 || !strings.Contains(log, "usage:") {
		t.Errorf("help: exit code %d\n%s", code, log)
	}
	if code, _, log := run(t, "", "--config", "/nowhere"); code != 1 || !strings.Contains(log, "/nowhere") {
		t.Errorf("a configuration that is not there: exit code %d\n%s", code, log)
	}
}
