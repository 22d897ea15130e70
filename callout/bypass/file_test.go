package bypass_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/bypass"
	"github.com/seatrial/seatrial/protocol"
)

// keys are the public keys of a broker.
type keys struct {
	callout, operator, system, other, issuer, xkey string
	// seeds are those of the keys, by them.
	seeds map[string][]byte
}

func newKeys(t testing.TB) keys {
	t.Helper()
	seeds := make(map[string][]byte)
	public := func(prefix nkeys.PrefixByte) string {
		pair, err := nkeys.CreatePair(prefix)
		if err != nil {
			t.Fatal(err)
		}
		key, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if seeds[key], err = pair.Seed(); err != nil {
			t.Fatal(err)
		}
		return key
	}
	return keys{
		seeds:   seeds,
		callout: public(nkeys.PrefixByteUser), operator: public(nkeys.PrefixByteUser), system: public(nkeys.PrefixByteUser), other: public(nkeys.PrefixByteUser),
		issuer: public(nkeys.PrefixByteAccount), xkey: public(nkeys.PrefixByteCurve),
	}
}

// broker is a configuration of the contract with changes to its parts.
type broker struct {
	keys
	top, callout, authorization string
	users                       []string
	accounts                    map[string]string
	xkey                        string
	// system is the server's own account; keep says which of the contract's shares
	// there are.
	system string
	keep   func(protocol.Share) bool
	// once has services answer once that are to answer several times.
	once bool
	// list is the deny list's stream of one that runs; nil if there is none.
	list *jetstream.StreamConfig
	// exports and imports are further ones of accounts.
	exports, imports map[string]string
}

func newBroker(k keys) *broker {
	return &broker{
		keys: k, system: protocol.AccountSystem, keep: func(protocol.Share) bool { return true }, list: denyList(), exports: map[string]string{}, imports: map[string]string{}, users: []string{k.callout, k.operator, k.system}, xkey: "xkey: " + k.xkey,
		accounts: map[string]string{
			protocol.AccountAuth:    "users: [ { nkey: " + k.callout + " } ]",
			protocol.AccountState:   "jetstream: enabled, users: [ { nkey: " + k.operator + " } ]",
			protocol.AccountDevices: "",
			protocol.AccountSystem:  "users: [ { nkey: " + k.system + " } ]",
		},
	}
}

// more adds to an account.
func (b *broker) more(account, text string) { b.accounts[account] += "\n" + text }

// conf is the configuration in the server's words.
func (b *broker) conf() string {
	exports, imports := map[string][]string{}, map[string][]string{}
	for _, s := range protocol.Shares() {
		if !b.keep(s) {
			continue
		}
		response := ""
		if s.Many && !b.once {
			response = ", response: stream"
		}
		exports[s.From] = append(exports[s.From], fmt.Sprintf("{ %s: %q, accounts: [%s]%s }", s.Kind, s.Subject, s.To, response))
		imports[s.To] = append(imports[s.To], fmt.Sprintf("{ %s: { account: %s, subject: %q } }", s.Kind, s.From, s.Subject))
	}
	for account, more := range b.exports {
		exports[account] = append(exports[account], more)
	}
	for account, more := range b.imports {
		imports[account] = append(imports[account], more)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "listen: \"127.0.0.1:-1\"\njetstream { store_dir: %q }\nsystem_account: %s\n%s\nauthorization {\n%s\n", "/nowhere", b.system, b.top, b.authorization)
	if b.callout != "-" {
		fmt.Fprintf(&text, "auth_callout { issuer: %s, auth_users: [ %s ], %s\n%s }\n", b.issuer, strings.Join(b.users, ", "), b.xkey, b.callout)
	}
	text.WriteString("}\naccounts {\n")
	for name, more := range b.accounts {
		fmt.Fprintf(&text, "%s {\n%s\n", name, more)
		for kind, all := range map[string]map[string][]string{"exports": exports, "imports": imports} {
			if !strings.Contains(more, kind+":") {
				fmt.Fprintf(&text, "%s: [ %s ]\n", kind, strings.Join(all[name], "\n"))
			}
		}
		text.WriteString("}\n")
	}
	text.WriteString("}\n")
	return text.String()
}

func (b *broker) file(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(b.conf()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// number is the place in a list.
var number = regexp.MustCompile(`\[\d+\]`)

func TestBypassesOfAConfiguration(t *testing.T) {
	k := newKeys(t)
	own := bypass.Options{User: k.callout, Issuer: k.issuer, XKey: k.xkey}
	certificate, key := selfSigned(t)
	for name, row := range map[string]struct {
		change  func(*broker)
		options bypass.Options
		want    []string // kind and where
	}{
		"of the contract":              {func(*broker) {}, bypass.Options{}, nil},
		"of the contract, all named":   {func(*broker) {}, own, nil},
		"no callout":                   {func(b *broker) { b.callout = "-" }, own, []string{"no-callout authorization.auth_callout"}},
		"no xkey":                      {func(b *broker) { b.xkey = "" }, own, []string{"no-xkey authorization.auth_callout.xkey"}},
		"another's xkey":               {func(b *broker) {}, bypass.Options{XKey: "XOTHER"}, []string{"other-issuer authorization.auth_callout.xkey"}},
		"another's issuer":             {func(b *broker) {}, bypass.Options{Issuer: "AOTHER"}, []string{"other-issuer authorization.auth_callout.issuer"}},
		"another's callout":            {func(b *broker) {}, bypass.Options{User: k.other}, []string{"auth-user accounts.AUTH.users[1]"}},
		"callout in another account":   {func(b *broker) { b.callout = "account: STATE" }, own, []string{"callout-account authorization.auth_callout.account"}},
		"user among devices":           {func(b *broker) { b.user(protocol.AccountDevices, b.other) }, own, []string{"auth-user accounts.DEVICES.users[1]"}},
		"user beside the callout":      {func(b *broker) { b.user(protocol.AccountAuth, b.other) }, own, []string{"auth-user accounts.AUTH.users[2]"}},
		"which is the callout's?":      {func(b *broker) { b.user(protocol.AccountAuth, b.other) }, bypass.Options{}, []string{"auth-user accounts.AUTH.users[1]", "auth-user accounts.AUTH.users[2]"}},
		"second operator":              {func(b *broker) { b.user(protocol.AccountState, b.other) }, own, []string{"auth-user accounts.STATE.users[2]"}},
		"second operator that's known": {func(b *broker) { b.user(protocol.AccountState, b.other) }, bypass.Options{Known: []string{k.other}}, nil},
		"second system user":           {func(b *broker) { b.user(protocol.AccountSystem, b.other) }, own, []string{"auth-user accounts.SYS.users[2]"}},
		"user that is asked about": {func(b *broker) {
			b.more(protocol.AccountDevices, "users: [ { nkey: "+b.other+" } ]")
		}, own, nil},
		"user of an account that's not sent": {func(b *broker) {
			b.more(protocol.AccountDevices, "users: [ { nkey: "+b.other+" } ]")
			b.callout = "allowed_accounts: [ AUTH, STATE, SYS ]"
		}, own, []string{"auth-user accounts.DEVICES.users[1]"}},
		"name of nobody": {func(b *broker) { b.users = append(b.users, b.other) }, own, []string{"unknown-user authorization.auth_callout.auth_users"}},
		"password": {func(b *broker) { b.more(protocol.AccountDevices, "users: [ { user: a, password: b } ]") }, own,
			[]string{"password-user accounts.DEVICES.users[1]"}},
		"password past the callout": {func(b *broker) {
			b.more(protocol.AccountDevices, "users: [ { username: a, pass: b } ]")
			b.users = append(b.users, "a")
		}, own, []string{"auth-user accounts.DEVICES.users[1]", "password-user accounts.DEVICES.users[1]"}},
		"no_auth_user": {func(b *broker) { b.top = "no_auth_user: " + b.operator }, own,
			[]string{"no-auth-user no_auth_user"}},
		"JetStream among devices":          {func(b *broker) { b.more(protocol.AccountDevices, "JetStream: enabled") }, own, []string{"jetstream accounts.DEVICES.jetstream"}},
		"JetStream among devices, limited": {func(b *broker) { b.more(protocol.AccountDevices, "jetstream { max_mem: 1M }") }, own, []string{"jetstream accounts.DEVICES.jetstream"}},
		"JetStream among devices, off":     {func(b *broker) { b.more(protocol.AccountDevices, "jetstream: disabled") }, own, nil},
		"exported to all": {func(b *broker) {
			b.accounts["OTHER"] = `exports: [ { service: "x.>" }, { stream: "y", accounts: [] } ]`
		}, own,
			[]string{"public-export accounts.OTHER.exports[1]", "public-export accounts.OTHER.exports[2]"}},
		"exported to another": {func(b *broker) {
			b.accounts["OTHER"] = ""
			b.accounts["MORE"] = `exports: [ { service: "x.>", accounts: [ OTHER ] } ]`
		}, own, []string{"foreign-share accounts.MORE.exports[N]"}},
		"JetStream offered to devices": {func(b *broker) {
			b.exports[protocol.AccountState] = `{ service: "$JS.API.>", accounts: [ DEVICES ] }`
			b.imports[protocol.AccountDevices] = `{ service: { account: STATE, subject: "$JS.API.>" } }`
		}, own, []string{"foreign-share accounts.DEVICES.imports[N]"}},
		"offered under another name": {func(b *broker) {
			b.exports[protocol.AccountState] = `{ service: "more.*", accounts: [ DEVICES ] }`
			b.imports[protocol.AccountDevices] = `{ service: { account: STATE, subject: "more.*" }, to: "device.*.more" }`
		}, own, []string{"foreign-share accounts.DEVICES.imports[N]", "foreign-share accounts.STATE.exports[N]"}},
		"moved subjects": {func(b *broker) {
			b.more(protocol.AccountDevices, `mappings { "device.*.heartbeat": "$KV.device-info.$1" }`)
		}, own, []string{"mapping accounts.DEVICES.mappings"}},
		"devices as system":               {func(b *broker) { b.top = "system_account: DEVICES" }, own, []string{"system-account system_account"}},
		"answers that end with the first": {func(b *broker) { b.once = true }, own, []string{"deny-list accounts.STATE.exports[10]", "deny-list accounts.SYS.exports[2]", "deny-list accounts.SYS.exports[3]"}},
		"another as system":               {func(b *broker) { b.system, b.accounts["OTHER"] = "OTHER", "" }, own, []string{"system-account system_account"}},
		"none named as system":            {func(b *broker) { b.system = `"$SYS"` }, own, []string{"system-account system_account"}},
		"gateway":                         {func(b *broker) { b.top = "gateway { name: a, port: -1 }" }, own, []string{"listener gateway"}},
		"leaf nodes":                      {func(b *broker) { b.top = `leafnodes { listen: "127.0.0.1:-1" }` }, own, []string{"listener leafnodes"}},
		"leaf node elsewhere":             {func(b *broker) { b.top = `leafnodes { remotes: [ { url: "nats://127.0.0.1:1", account: DEVICES } ] }` }, own, []string{"listener leafnodes.remotes[1]"}},
		"MQTT":                            {func(b *broker) { b.top = "server_name: a, mqtt { port: -1 }" }, own, []string{"listener mqtt"}},
		"websocket":                       {func(b *broker) { b.top = "websocket { port: -1, no_tls: true, no_auth_user: " + b.operator + " }" }, own, []string{"listener websocket", "no-auth-user websocket.no_auth_user"}},
		"routes":                          {func(b *broker) { b.top = `cluster { name: a, listen: "127.0.0.1:-1" }` }, own, []string{"listener cluster"}},
		"routes with a password": {func(b *broker) {
			b.top = `cluster { name: a, listen: "127.0.0.1:-1", authorization { user: a, password: b } }`
		}, own, nil},
		"routes with no password": {func(b *broker) {
			b.top = `cluster { name: a, listen: "127.0.0.1:-1", authorization { timeout: 1 } }`
		}, own, []string{"listener cluster"}},
		// The server asks routes for a certificate of its authorities whether it is told to
		// or not; without a file of them, those are the whole world's.
		"routes with certificates": {func(b *broker) {
			b.top = fmt.Sprintf(`cluster { name: a, listen: "127.0.0.1:-1", tls { cert_file: %q, key_file: %q, ca_file: %q } }`, certificate, key, certificate)
		}, own, nil},
		"routes with anybody's certificates": {func(b *broker) {
			b.top = fmt.Sprintf(`cluster { name: a, listen: "127.0.0.1:-1", tls { cert_file: %q, key_file: %q, verify: true } }`, certificate, key)
		}, own, []string{"listener cluster"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroker(k)
			b.callout = "account: AUTH"
			row.change(b)
			if !strings.Contains(b.callout, "account:") && b.callout != "-" {
				b.callout += "\naccount: AUTH"
			}
			file := b.file(t)
			found, err := bypass.File(file, row.options)
			if err != nil {
				t.Fatalf("%v\n%s", err, b.conf())
			}
			var got []string
			for _, f := range found {
				where := f.Where
				if f.Kind == bypass.ForeignShare {
					where = number.ReplaceAllString(where, "[N]")
				}
				got = append(got, string(f.Kind)+" "+where)
				if f.What == "" || f.Why == "" || f.Do == "" {
					t.Errorf("%+v does not say all", f)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, row.want) {
				t.Errorf("found %q, want %q\n%s", got, row.want, b.conf())
			}
			// It must be a configuration that a server runs with, or the row shows
			// nothing.
			if o, err := server.ProcessConfigFile(file); err != nil || o == nil {
				t.Errorf("the server refuses it: %v\n%s", err, b.conf())
			}
		})
	}
}

// user adds a user who comes in past the callout.
func (b *broker) user(account, key string) {
	b.users = append(b.users, key)
	if text := b.accounts[account]; strings.Contains(text, "users: [") {
		b.accounts[account] = strings.Replace(text, " } ]", " }, { nkey: "+key+" } ]", 1)
		return
	}
	b.more(account, "users: [ { nkey: "+key+" } ]")
}

// A server with one password for everybody has no accounts, and asks nobody.
func TestOnePasswordForEverybody(t *testing.T) {
	for text, where := range map[string]string{
		"authorization { user: a, password: b }":                    "authorization.user",
		"authorization { TOKEN: b }":                                "authorization.token",
		"authorization { users: [ { user: a } ] }":                  "authorization.users[1]",
		"authorization { users: [ { Username: a, Password: b } ] }": "authorization.users[1]",
	} {
		file := filepath.Join(t.TempDir(), "server.conf")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := bypass.File(file, bypass.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := kinds(found), []string{"no-callout authorization.auth_callout", "password-user " + where, "system-account system_account"}; !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q", text, got, want)
		}
		if _, err := server.ProcessConfigFile(file); err != nil {
			t.Errorf("%s: the server refuses it: %v", text, err)
		}
	}
}

func TestOperatorModeIsSaid(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte("Operator: x.jwt\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := bypass.File(file, bypass.Options{})
	if err != nil || !slices.ContainsFunc(found, func(f bypass.Finding) bool { return f.Kind == bypass.OperatorMode }) {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestFileThatIsNone(t *testing.T) {
	if _, err := bypass.File("/nowhere", bypass.Options{}); err == nil {
		t.Error("accepted")
	}
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte("accounts {"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bypass.File(file, bypass.Options{}); err == nil {
		t.Error("accepted")
	}
}

// Whatever a file holds, it is read or refused.
func FuzzFile(f *testing.F) {
	f.Add(newBroker(newKeys(f)).conf())
	f.Add("accounts: [A, B]\nauthorization: 1\ncluster: x\n")
	f.Add("accounts { A { users: 3, exports: [ 1, {} ], imports: [ { stream: x } ], mappings: [] } }\nwebsocket { port: {} }\n")
	file := filepath.Join(f.TempDir(), "server.conf")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "include") {
			t.Skip("reads other files")
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found, err := bypass.File(file, bypass.Options{})
		if err != nil && found != nil {
			t.Errorf("found %v and %v", found, err)
		}
	})
}
