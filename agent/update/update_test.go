package update

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/protocol"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMemoryOutlivesTheAgent(t *testing.T) {
	folder := t.TempDir()
	m := Load(folder, quiet)
	failure := &Failure{Spec: "spec", Rollback: protocol.Rollback{Reason: "Unhealthy", ImageID: "bad"}}
	m.Change("web", func(r *Record) {
		r.Good, r.Image, r.Before, r.Aside, r.Failure = "id-1", "image-2", "image-1", &Aside{ID: "id-0", Ran: true}, failure
	})
	m.Change("other", func(r *Record) { r.Counted, r.Restarts = "id-9", 3 })
	if info, err := os.Stat(filepath.Join(folder, "updates.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %v, %v, want mode 0600", info, err)
	}
	again := Load(folder, quiet)
	for _, name := range []string{"web", "other", "none"} {
		if got, want := again.Get(name), m.Get(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v, was %+v", name, got, want)
		}
	}
	if got := again.Images(); !slices.Equal(got, []string{"image-2", "image-1"}) {
		t.Errorf("images %v", got)
	}
	again.Retain(func(name string) bool { return name == "other" })
	if got := Load(folder, quiet); got.Get("web") != (Record{}) || got.Get("other").Restarts != 3 {
		t.Errorf("after forgetting web: %+v", got.records)
	}
	if err := os.WriteFile(filepath.Join(folder, "updates.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Load(folder, quiet); len(got.records) != 0 {
		t.Errorf("of a broken file %+v is remembered", got.records)
	}
}

func TestMemoryIsWrittenOnlyWhenItChanges(t *testing.T) {
	folder := t.TempDir()
	m := Load(folder, quiet)
	m.Change("web", func(r *Record) { r.Good = "" })
	if _, err := os.Stat(filepath.Join(folder, "updates.json")); !os.IsNotExist(err) {
		t.Errorf("nothing was written down: %v", err)
	}
}

func TestMemoryIsWrittenOnceItCanBe(t *testing.T) {
	folder := t.TempDir()
	m := Load(folder, quiet)
	// Nothing can be renamed over a folder.
	if err := os.Mkdir(m.path, 0o700); err != nil {
		t.Fatal(err)
	}
	m.Change("web", func(r *Record) { r.Good = "id-1" })
	m.Keep()
	if err := os.Remove(m.path); err != nil {
		t.Fatal(err)
	}
	m.Keep()
	if got := Load(folder, quiet).Get("web"); got.Good != "id-1" {
		t.Errorf("remembered is %+v", got)
	}
}

func TestFailureForbidsWhatFailedAlone(t *testing.T) {
	c := protocol.Container{Name: "web", Image: "a:1", Deployment: protocol.DeploymentRef{Namespace: "n", Name: "d", UID: "u"}}
	f := &Failure{Spec: Hash(&c), Rollback: protocol.Rollback{ImageID: "image"}}
	changed := func(change func(*protocol.Container)) string { other := c; change(&other); return Hash(&other) }
	for name, row := range map[string]struct {
		spec, image string
		forbids     bool
	}{
		"the same":                      {Hash(&c), "image", true},
		"its image is gone":             {Hash(&c), "", true},
		"its tag has moved":             {Hash(&c), "another", false},
		"its deployment has a new name": {changed(func(c *protocol.Container) { c.Deployment.Name = "e" }), "image", true},
		"another deployment":            {changed(func(c *protocol.Container) { c.Deployment.UID = "v" }), "image", false},
		"another variable":              {changed(func(c *protocol.Container) { c.Env = []protocol.EnvVar{{Name: "A"}} }), "image", false},
		"another health check":          {changed(func(c *protocol.Container) { c.HealthCheck = new(protocol.HealthCheck) }), "image", false},
	} {
		if got := f.Forbids(row.spec, row.image); got != row.forbids {
			t.Errorf("%s: forbidden is %t, want %t", name, got, row.forbids)
		}
	}
	if (*Failure)(nil).Forbids(Hash(&c), "image") {
		t.Error("no failure forbids something")
	}
}

func TestTail(t *testing.T) {
	env := []protocol.EnvVar{
		{Name: "A", Value: "hunter2"}, {Name: "B", Value: "hunter2-and-more"}, {Name: "C", Value: "line one\nline two\n"},
		{Name: "D", Value: `say "hi"`}, {Name: "E", Value: "1"}, {Name: "F"},
	}
	for log, want := range map[string]string{
		"":                                  "",
		"password hunter2 is wrong\n":       "password (a value) is wrong",
		"hunter2-and-more\nhunter2\n":       "(a value)\n(a value)",
		"got line two of it":                "got (a value) of it",
		`{"d":"say \"hi\""}`:                `{"d":"(a value)"}`,
		"exit 1":                            "exit 1",
		"a\x00b\xff":                        "ab",
		"key s\xffe\x00cret":                "key (a value)",
		"-----BEGIN\nMIIE\n-----END":        "(a value)\n(a value)\n(a value)",
		"only MIIE of it":                   "only (a value) of it",
		strings.Repeat("0123456789\n", 200): "…" + strings.Repeat("0123456789\n", 91) + "0123456789",
	} {
		if got := Tail(log, env, []string{"s\xffecret", "-----BEGIN\nMIIE\n-----END\n"}); got != want {
			t.Errorf("of %.80q is left %q, want %q", log, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringN(shortest, 40, -1).Draw(t, "value")
		log := strings.Join(rapid.SliceOf(rapid.OneOf(rapid.Just(value), rapid.String())).Draw(t, "log"), " ")
		got := Tail(log, []protocol.EnvVar{{Name: "A", Value: value}}, nil)
		if secret := Tail(log, nil, []string{value}); secret != got {
			t.Fatalf("of a variable is left %q, of a secret %q", got, secret)
		}
		if len(got) > MaxLog || !utf8.ValidString(got) {
			t.Fatalf("it is %q", got)
		}
		if plain := strings.ReplaceAll(value, "\x00", ""); plain == value && !strings.Contains(hidden, value) && strings.Contains(strings.ReplaceAll(got, hidden, "\x00"), value) {
			t.Fatalf("the value %q is in %q", value, got)
		}
	})
}
