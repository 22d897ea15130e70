package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/seatrial/seatrial/callout/config"
	"github.com/seatrial/seatrial/callout/rules"
	"github.com/seatrial/seatrial/internal/table"
	"github.com/seatrial/seatrial/protocol"
)

// folder holds a configuration and the seeds it names.
type folder struct {
	path string
	good map[string]string // key path → TOML value
}

func newFolder(t testing.TB) *folder {
	t.Helper()
	f := &folder{path: t.TempDir()}
	f.good = map[string]string{
		"issuer": `"http://127.0.0.1:8080"`, "project": `"1"`,
		"nats.url": `"nats://127.0.0.1:4222"`, "nats.seed_file": f.seed(t, "user", nkeys.PrefixByteUser, 0o600),
		"keys.account_seed_file": f.seed(t, "account", nkeys.PrefixByteAccount, 0o600),
		"http.address":           `"127.0.0.1:0"`,
	}
	return f
}

// seed writes a seed and returns its path as TOML.
func (f *folder) seed(t testing.TB, name string, prefix nkeys.PrefixByte, mode os.FileMode) string {
	t.Helper()
	pair, err := nkeys.CreatePair(prefix)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return f.file(t, name, string(seed)+"\n", mode)
}

func (f *folder) file(t testing.TB, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(f.path, name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%q", path)
}

// render writes the good configuration with changes; a value of "" leaves the
// key out.
func (f *folder) render(changes map[string]string) string {
	tables := map[string][]string{}
	add := func(key, value string) {
		table, name, ok := strings.Cut(key, ".")
		if !ok {
			table, name = "", key
		}
		tables[table] = append(tables[table], name+" = "+value)
	}
	for key, value := range f.good {
		if _, changed := changes[key]; !changed {
			add(key, value)
		}
	}
	for key, value := range changes {
		if value != "" {
			add(key, value)
		}
	}
	text := strings.Join(tables[""], "\n")
	delete(tables, "")
	for table, lines := range tables {
		text += "\n[" + table + "]\n" + strings.Join(lines, "\n")
	}
	return text + "\n"
}

func (f *folder) load(t testing.TB, text string) (*config.Config, string, error) {
	t.Helper()
	path := filepath.Join(f.path, "callout.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	return c, path, err
}

// problems are the keys of all problems in err.
func problems(t testing.TB, file string, err error) (keys []string) {
	t.Helper()
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	for _, one := range all {
		var problem *table.Problem
		if !errors.As(one, &problem) {
			t.Fatalf("%v is not a problem", one)
		}
		if problem.File != file || !strings.HasPrefix(one.Error(), file+": "+problem.Key) {
			t.Errorf("%q does not name file and key", one)
		}
		keys = append(keys, problem.Key)
	}
	slices.Sort(keys)
	return keys
}

func TestGoodConfiguration(t *testing.T) {
	f := newFolder(t)
	c, _, err := f.load(t, f.render(nil))
	if err != nil {
		t.Fatal(err)
	}
	if c.Issuer != "http://127.0.0.1:8080" || c.Project != "1" || c.NATS.URL != "nats://127.0.0.1:4222" || c.HTTPAddress != "127.0.0.1:0" {
		t.Errorf("got %+v", c)
	}
	if want := rules.Builtin("device", "fleet-admin"); !reflect.DeepEqual(c.Rules, want) || len(c.Keys.Curve) > 0 {
		t.Errorf("defaults: got %+v", c)
	}
	if want := (config.Limits{Budget: protocol.CalloutBudget, ExpiryJitter: config.DefaultExpiryJitter}); c.Limits != want {
		t.Errorf("limits: got %+v, want %+v", c.Limits, want)
	}

	c, _, err = f.load(t, f.render(map[string]string{
		"keys.xkey_seed_file": f.seed(t, "curve", nkeys.PrefixByteCurve, 0o400),
		"roles.device":        `"edge"`, "limits.workers": "3", "limits.queue": "7", "limits.source_failures": "50", "limits.device_admissions": "90", "limits.budget": `"900ms"`,
		"limits.expiry_jitter": `"0s"`, "limits.keys_max_age": `"1m"`, "limits.keys_min_wait": `"3s"`,
		"nats.url": `"nats://127.0.0.1:4222, nats://localhost:4223"`, "nats.ca_file": `"/nats-ca/ca.crt"`, "jwks_file": `"/state/jwks.json"`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if c.NATS.CAFile != "/nats-ca/ca.crt" {
		t.Errorf("the broker's authority is in %q", c.NATS.CAFile)
	}
	if c.JWKSFile != "/state/jwks.json" {
		t.Errorf("the issuer's keys are kept in %q", c.JWKSFile)
	}
	want := config.Limits{Workers: 3, Queue: 7, SourceFailures: 50, DeviceAdmissions: 90, Budget: 900 * time.Millisecond, KeysMaxAge: time.Minute, KeysMinWait: 3 * time.Second}
	if c.Limits != want || !reflect.DeepEqual(c.Rules, rules.Builtin("edge", "fleet-admin")) || len(c.Keys.Curve) == 0 {
		t.Errorf("got %+v", c)
	}
}

func TestBadConfiguration(t *testing.T) {
	f := newFolder(t)
	wrongKind := f.seed(t, "operator", nkeys.PrefixByteOperator, 0o600)
	for name, row := range map[string]struct {
		changes map[string]string
		want    []string
	}{
		"unknown key":              {map[string]string{"isuer": `"x"`}, []string{"isuer"}},
		"unknown key in a table":   {map[string]string{"nats.user": `"x"`}, []string{"nats.user"}},
		"unknown table":            {map[string]string{"role.device": `"x"`}, []string{"role"}},
		"missing":                  {map[string]string{"issuer": "", "nats.url": "", "http.address": ""}, []string{"http.address", "issuer", "nats.url"}},
		"empty":                    {map[string]string{"project": `""`}, []string{"project"}},
		"wrong types":              {map[string]string{"issuer": "1", "limits.workers": `"4"`, "limits.budget": "1.5", "roles": "true"}, []string{"issuer", "limits.budget", "limits.workers", "roles"}},
		"issuer with a path":       {map[string]string{"issuer": `"https://sso.example.org/x"`}, []string{"issuer"}},
		"issuer with a slash":      {map[string]string{"issuer": `"https://sso.example.org/"`}, []string{"issuer"}},
		"issuer without a scheme":  {map[string]string{"issuer": `"sso.example.org"`}, []string{"issuer"}},
		"issuer with a password":   {map[string]string{"issuer": `"https://a:b@sso.example.org"`}, []string{"issuer"}},
		"issuer with a query":      {map[string]string{"issuer": `"https://sso.example.org?x"`}, []string{"issuer"}},
		"broker by HTTP":           {map[string]string{"nats.url": `"http://127.0.0.1:4222"`}, []string{"nats.url"}},
		"broker with a password":   {map[string]string{"nats.url": `"nats://a:b@127.0.0.1:4222"`}, []string{"nats.url"}},
		"one bad broker of two":    {map[string]string{"nats.url": `"nats://127.0.0.1:4222,"`}, []string{"nats.url"}},
		"address without a port":   {map[string]string{"http.address": `"127.0.0.1"`}, []string{"http.address"}},
		"bad duration":             {map[string]string{"limits.budget": `"soon"`}, []string{"limits.budget"}},
		"duration without a unit":  {map[string]string{"limits.budget": `"1"`}, []string{"limits.budget"}},
		"budget above the most":    {map[string]string{"limits.budget": `"2s"`}, []string{"limits.budget"}},
		"negative duration":        {map[string]string{"limits.expiry_jitter": `"-1s"`}, []string{"limits.expiry_jitter"}},
		"no workers":               {map[string]string{"limits.workers": "0"}, []string{"limits.workers"}},
		"too long a queue":         {map[string]string{"limits.queue": "100000000"}, []string{"limits.queue"}},
		"one name for both roles":  {map[string]string{"roles.device": `"fleet-admin"`}, []string{"roles"}},
		"a role without a name":    {map[string]string{"roles.device": `""`}, []string{"roles.device"}},
		"roles by a wildcard":      {map[string]string{"roles.device": `"edge-*"`, "roles.admin": `">"`}, []string{"roles.admin", "roles.device"}},
		"seed that is not there":   {map[string]string{"nats.seed_file": `"/nowhere"`}, []string{"nats.seed_file"}},
		"seed of another kind":     {map[string]string{"nats.seed_file": wrongKind, "keys.account_seed_file": wrongKind, "keys.xkey_seed_file": wrongKind}, []string{"keys.account_seed_file", "keys.xkey_seed_file", "nats.seed_file"}},
		"account's seed as user's": {map[string]string{"nats.seed_file": f.good["keys.account_seed_file"]}, []string{"nats.seed_file"}},
		"seed for everyone":        {map[string]string{"nats.seed_file": f.seed(t, "open", nkeys.PrefixByteUser, 0o644)}, []string{"nats.seed_file"}},
		"seed for the group":       {map[string]string{"nats.seed_file": f.seed(t, "group", nkeys.PrefixByteUser, 0o640)}, []string{"nats.seed_file"}},
		"empty seed":               {map[string]string{"nats.seed_file": f.file(t, "empty", "\n", 0o600)}, []string{"nats.seed_file"}},
		"one byte as seed":         {map[string]string{"nats.seed_file": f.file(t, "byte", "S", 0o600)}, []string{"nats.seed_file"}},
		"public key as seed":       {map[string]string{"nats.seed_file": f.file(t, "public", "UAAQW5Q7EXSPMDZDTAVMZ2CYYKK5BVBLQKGQGJZ3MSQHCOVFAZFOZEQN", 0o600)}, []string{"nats.seed_file"}},
		"folder as seed":           {map[string]string{"nats.seed_file": fmt.Sprintf("%q", f.path)}, []string{"nats.seed_file"}},
		"everything":               {map[string]string{"issuer": `""`, "project": "3", "nats.url": `"x"`, "keys.account_seed_file": `"/nowhere"`, "http.address": `"x"`, "more": "1"}, []string{"http.address", "issuer", "keys.account_seed_file", "more", "nats.url", "project"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, file, err := f.load(t, f.render(row.changes))
			if err == nil {
				t.Fatal("accepted")
			}
			if got := problems(t, file, err); !slices.Equal(got, row.want) {
				t.Errorf("problems with %v, want %v:\n%v", got, row.want, err)
			}
		})
	}
}

func TestSeedsAreNotShown(t *testing.T) {
	f := newFolder(t)
	secret := "SOAEK7GYWZ4HKJYXSBZ6NB7RZVMHQ6UEKKPF7C6NPD3SBZG5KKXO4JQMCQ"
	_, _, err := f.load(t, f.render(map[string]string{"nats.seed_file": f.file(t, "secret", secret, 0o600)}))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	// Nor when somebody writes one into the file itself.
	for _, text := range []string{secret, "issuer = " + secret, `[nats]` + "\n" + `seed = "` + secret + `"`} {
		if _, _, err := f.load(t, text); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
	}
}

func TestSyntaxErrorNamesItsLine(t *testing.T) {
	f := newFolder(t)
	_, file, err := f.load(t, "issuer = \"x\"\nproject = = 1\n")
	if err == nil || !strings.HasPrefix(err.Error(), file+": line 2: ") {
		t.Errorf("got %v", err)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	dir := newFolder(f)
	f.Add(dir.render(nil))
	f.Add(dir.render(map[string]string{"limits.budget": `"1s"`, "limits.workers": "9"}))
	f.Add("issuer = 1\n[nats]\nurl = []\n[[keys]]\n")
	f.Add("a.b.c = 2020-01-01\n\"\" = inf\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, file, err := dir.load(t, text)
		if err != nil {
			problems(t, file, err)
			return
		}
		if c.Issuer == "" || c.Project == "" || len(c.NATS.Seed) == 0 || len(c.Keys.Account) == 0 || c.Limits.Budget > protocol.CalloutBudget {
			t.Errorf("accepted %q as %+v", text, c)
		}
	})
}
