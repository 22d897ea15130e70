package command_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/protocol"
)

// key makes a key and writes its seed; it returns the public key and the file.
func key(t *testing.T, prefix nkeys.PrefixByte) (public, file string) {
	t.Helper()
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = pair.PublicKey(); err != nil {
		t.Fatal(err)
	}
	return public, write(t, "seed", string(seed))
}

func TestVerifyServer(t *testing.T) {
	caller, callerSeed := key(t, nkeys.PrefixByteUser)
	issuer, issuerSeed := key(t, nkeys.PrefixByteAccount)
	curve, curveSeed := key(t, nkeys.PrefixByteCurve)
	other, _ := key(t, nkeys.PrefixByteUser)
	config := write(t, "callout.toml", fmt.Sprintf(`
issuer = "http://127.0.0.1:1"
project = %q
nats = { url = "nats://127.0.0.1:4222", seed_file = %q }
keys = { account_seed_file = %q, xkey_seed_file = %q }
http = { address = "127.0.0.1:0" }
`, issuertest.Project, callerSeed, issuerSeed, curveSeed))
	var imports []string // of what the callout is to see
	for _, s := range protocol.Shares() {
		if s.To == protocol.AccountAuth {
			imports = append(imports, fmt.Sprintf("{ %s: { account: %s, subject: %q } }", s.Kind, s.From, s.Subject))
		}
	}
	server := func(issuer, more string) string {
		return write(t, "server.conf", fmt.Sprintf(`
system_account: SYS
accounts { SYS {}, AUTH { users: [ { nkey: %s } ], imports: [ %s ] }, STATE { jetstream: enabled }, DEVICES { %s } }
authorization { auth_callout { issuer: %s, account: AUTH, auth_users: [ %s, %s ], xkey: %s } }
`, caller, strings.Join(imports, ", "), more, issuer, caller, other, curve))
	}
	extra := "users: [ { nkey: " + other + " } ]"
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "no JSON") }))
	t.Cleanup(broken.Close)
	for name, row := range map[string]struct {
		args []string
		code int
		want string
	}{
		"a user too many":           {[]string{"--server-config", server(issuer, extra)}, 1, "auth-user  accounts.DEVICES.users[1]"},
		"that one is known":         {[]string{"--server-config", server(issuer, extra), "--known", other}, 0, "no way past the callout"},
		"with the callout's keys":   {[]string{"--server-config", server(issuer, extra), "--known", other, "--config", config}, 0, "no way past the callout"},
		"of another callout":        {[]string{"--server-config", server("AOTHER", extra), "--known", other, "--config", config}, 1, "other-issuer"},
		"a name too many":           {[]string{"--server-config", server(issuer, "")}, 1, "unknown-user"},
		"no such file":              {[]string{"--server-config", "/nowhere"}, 2, "/nowhere"},
		"no such callout":           {[]string{"--server-config", server(issuer, extra), "--config", "/nowhere"}, 2, "/nowhere"},
		"no such server":            {[]string{"--server", "nats://127.0.0.1:1"}, 2, "connect to the server"},
		"no monitoring":             {[]string{"--monitor", broken.URL}, 2, "monitoring"},
		"a server and a token":      {[]string{"--server-config", server(issuer, extra), "--token-file", "-", "--config", config}, 2, "usage:"},
		"users who are known alone": {[]string{"--known", other}, 2, "usage:"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, log := run(t, "", append([]string{"verify"}, row.args...)...)
			if code != row.code || !strings.Contains(out+log, row.want) {
				t.Errorf("exit code %d, want %d and %q\n%s\n%s", code, row.code, row.want, out, log)
			}
			for _, part := range []string{"found  ", "matters  ", "do  ", "ways past the callout: 1"} {
				if row.code == 1 && !strings.Contains(out, part) {
					t.Errorf("it does not say %q:\n%s", part, out)
				}
			}
		})
	}
}
