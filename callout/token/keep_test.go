package token_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/seatrial/seatrial/callout/internal/issuertest"
	"github.com/seatrial/seatrial/callout/refusal"
	"github.com/seatrial/seatrial/callout/token"
	"github.com/seatrial/seatrial/internal/durable/durabletest"
)

// kept runs a set until it has written down the issuer's keys, and returns the file.
func kept(t *testing.T, issuer *issuertest.Issuer) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "jwks.json")
	running(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, File: file})
	written(t, file, issuer.KeyID())
	return file
}

// written waits until the file holds a key, and returns what it holds.
func written(t *testing.T, file, id string) map[string]any {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		data, err := os.ReadFile(file)
		if err == nil {
			var set jose.JSONWebKeySet
			var all map[string]any
			if err := json.Unmarshal(data, &all); err != nil {
				t.Fatalf("half a file: %v", err)
			}
			if err := json.Unmarshal(data, &set); err != nil {
				t.Fatalf("not a JWK set: %v", err)
			}
			if len(set.Key(id)) == 1 {
				return all
			}
		}
		if time.Now().After(end) {
			t.Fatalf("key %s is not in the file: %v", id, err)
		}
	}
}

// Who starts while the issuer is down goes by what an earlier run had, as if it had
// never been away, and by the issuer again as soon as that can be asked.
func TestStartsByTheKeysOfAnEarlierRun(t *testing.T) {
	issuer := issuertest.New(t)
	file := kept(t, issuer)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v %v", info.Mode(), err)
	}
	before := issuer.KeyID()
	issuer.Down(true)
	told, results := fetches()
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, MinInterval: time.Nanosecond, File: file, Fetched: told})
	if await(t, results) == nil {
		t.Fatal("the issuer is not down")
	}
	if _, err := keys.Key(t.Context(), before); err != nil {
		t.Errorf("a key of before: %v", err)
	}
	if age := time.Since(keys.Fetched()); age <= 0 || age > time.Minute {
		t.Errorf("they count as %s old", age)
	}
	if _, err := keys.Key(t.Context(), "invented"); refusal.ReasonOf(err) != refusal.KeysUnavailable {
		t.Errorf("an invented key: %v", err)
	}
	issuer.Withdraw()
	issuer.Rotate(t, jose.ES256)
	issuer.Down(false)
	for await(t, results) != nil {
	}
	if _, err := keys.Key(t.Context(), before); refusal.ReasonOf(err) != refusal.KeyUnknown {
		t.Errorf("a key that was withdrawn: %v", err)
	}
	if n := len(written(t, file, issuer.KeyID())["keys"].([]any)); n != 1 {
		t.Errorf("%d keys are kept, want the one that is published", n)
	}
}

// A key that was withdrawn must not stand there for as long as keys that have not changed
// are left alone.
func TestChangedKeysAreWrittenDownAtOnce(t *testing.T) {
	issuer := issuertest.New(t)
	file := filepath.Join(t.TempDir(), "jwks.json")
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, MinInterval: time.Nanosecond, File: file})
	written(t, file, issuer.KeyID())
	issuer.Withdraw()
	issuer.Rotate(t, jose.ES256)
	if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
		t.Fatal(err)
	}
	if n := len(written(t, file, issuer.KeyID())["keys"].([]any)); n != 1 {
		t.Errorf("%d keys are kept, want the one that is published", n)
	}
}

func TestPowerCutBringsNoWithdrawnKeyBack(t *testing.T) {
	issuer := issuertest.New(t)
	disk := durabletest.New(t)
	file := filepath.Join(disk.Path, "jwks.json")
	for range 2 {
		issuer.Withdraw()
		issuer.Rotate(t, jose.ES256)
		t.Run("a run", func(t *testing.T) {
			running(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, File: file})
			written(t, file, issuer.KeyID())
		})
		disk.CutPower()
		if n := len(written(t, file, issuer.KeyID())["keys"].([]any)); n != 1 {
			t.Errorf("after a power cut %d keys are kept, want the one that is published", n)
		}
	}
}

func TestKeptKeysAreOnlyRead(t *testing.T) {
	issuer := issuertest.New(t)
	file := kept(t, issuer)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	issuer.Down(true)
	told, results := fetches()
	keys := loaded(t, token.KeySetOptions{Issuer: issuer.URL, MinInterval: time.Nanosecond, File: file, ReadOnly: true, Fetched: told})
	if _, err := keys.Key(t.Context(), issuer.KeyID()); err != nil {
		t.Errorf("a key of before: %v", err)
	}
	issuer.Rotate(t, jose.ES256)
	issuer.Down(false)
	for await(t, results) != nil {
	}
	// What is fetched is written down before the next fetch.
	if _, err := keys.Key(t.Context(), "invented"); refusal.ReasonOf(err) != refusal.KeyUnknown {
		t.Errorf("an invented key: %v", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was written (%v):\n%s", err, after)
	}
}

func TestKeptKeysThatAreOfNoUse(t *testing.T) {
	issuer := issuertest.New(t)
	changed := func(change func(map[string]any)) func(*testing.T, string) {
		return func(t *testing.T, file string) {
			t.Helper()
			all := written(t, file, issuer.KeyID())
			change(all)
			data, err := json.Marshal(all)
			if err == nil {
				err = os.WriteFile(file, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	of := func(age time.Duration) func(map[string]any) {
		return func(all map[string]any) { all["fetched"] = time.Now().Add(-age).Format(time.RFC3339Nano) }
	}
	private, err := json.Marshal(jose.JSONWebKey{Key: issuertest.NewKey(t, jose.RS256), KeyID: "private", Algorithm: "RS256", Use: "sig"})
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		spoil func(*testing.T, string)
		use   bool
	}{
		"untouched":      {func(*testing.T, string) {}, true},
		"of yesterday":   {changed(of(23 * time.Hour)), true},
		"too old":        {changed(of(25 * time.Hour)), false},
		"of the future":  {changed(of(-time.Hour)), false},
		"of no time":     {changed(func(all map[string]any) { delete(all, "fetched") }), false},
		"another's":      {changed(func(all map[string]any) { all["issuer"] = "https://sso.example.org" }), false},
		"without issuer": {changed(func(all map[string]any) { delete(all, "issuer") }), false},
		"no keys":        {changed(func(all map[string]any) { all["keys"] = []any{} }), false},
		"a private key":  {changed(func(all map[string]any) { all["keys"] = []any{json.RawMessage(private)} }), false},
		"garbage": {func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte(`{"issuer":`), 0o600); err != nil {
				t.Fatal(err)
			}
		}, false},
		"for others to write": {func(t *testing.T, file string) {
			if err := os.Chmod(file, 0o620); err != nil {
				t.Fatal(err)
			}
		}, false},
		"a folder": {func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(file, 0o700); err != nil {
				t.Fatal(err)
			}
		}, false},
		"none": {func(t *testing.T, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			issuer.Down(false)
			file := kept(t, issuer)
			row.spoil(t, file)
			issuer.Down(true)
			told, results := fetches()
			keys := running(t, token.KeySetOptions{Issuer: issuer.URL, MaxAge: never, File: file, Fetched: told})
			if await(t, results) == nil {
				t.Fatal("the issuer is not down")
			}
			_, err := keys.Key(t.Context(), issuer.KeyID())
			if used := err == nil; used != row.use || used != !keys.Fetched().IsZero() {
				t.Errorf("used: %v (%v), want %v", used, err, row.use)
			}
			select {
			case <-keys.Loaded():
				if !row.use {
					t.Error("they count as loaded")
				}
			default:
				if row.use {
					t.Error("they do not count as loaded")
				}
			}
		})
	}
}
