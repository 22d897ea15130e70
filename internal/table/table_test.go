package table_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/internal/table"
)

func parse(t *testing.T, text string) *table.Table {
	t.Helper()
	top, err := table.Parse("f.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return top
}

// found are the keys of all problems of a file, sorted, with their files.
func found(t *testing.T, err error) (keys []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("%v joins nothing", err)
	}
	for _, one := range joined.Unwrap() {
		var problem *table.Problem
		if !errors.As(one, &problem) || !strings.HasPrefix(one.Error(), problem.File+": ") {
			t.Fatalf("%v is no problem that names its file", one)
		}
		keys = append(keys, filepath.Base(problem.File)+": "+problem.Key)
	}
	slices.Sort(keys)
	return keys
}

func TestValuesAreTaken(t *testing.T) {
	top := parse(t, `
text = "a"
list = ["a", "b"]
none = []
count = 3
time = "1m30s"
origin = "https://sso.example.org:8443"
broker = "nats://a:4222, tls://b"
[inner]
a = "1"
b = "2"
[[each]]
name = "x"
[[each]]
name = "y"
`)
	each := top.Tables("each")
	got := []any{
		top.Text("text"), top.Optional("other", "else"), top.List("list"), top.List("none", "else"), top.List("other", "else"),
		top.Count("count", 1, 0, 3), top.Count("other", 1, 0, 3), top.Duration("time", 0, 0, time.Hour), top.Duration("other", time.Second, 0, time.Hour),
		top.Origin("origin", "https"), top.Broker("broker", "a seed"), top.Table("inner").All(), top.Table("other").All(), each[0].Text("name") + each[1].Text("name"),
	}
	want := []any{
		"a", "else", []string{"a", "b"}, []string{}, []string{"else"}, 3, 1, 90 * time.Second, time.Second,
		"https://sso.example.org:8443", "nats://a:4222, tls://b", map[string]string{"a": "1", "b": "2"}, map[string]string(nil), "xy",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it is\n%v, want\n%v", got, want)
	}
	top.End()
	if !top.Empty() || top.Err() != nil {
		t.Errorf("left over: %v", top.Err())
	}
}

func TestEveryProblemIsNamed(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		take func(*table.Table)
		want []string
	}{
		"missing": {"", func(t *table.Table) { t.Text("a") }, []string{"f.toml: a"}},
		"empty":   {`a = ""`, func(t *table.Table) { t.Text("a") }, []string{"f.toml: a"}},
		"another type": {"a = 1\nb = 1\nc = 1\nd = 1\ne = \"1\"\nf = 1", func(t *table.Table) {
			t.Text("a")
			t.Optional("b", "")
			t.Table("c")
			t.List("d")
			t.Count("e", 0, 0, 1)
			t.Tables("f")
		}, []string{"f.toml: a", "f.toml: b", "f.toml: c", "f.toml: d", "f.toml: e", "f.toml: f"}},
		"mixed list":         {`a = ["x", 1]`, func(t *table.Table) { t.List("a") }, []string{"f.toml: a"}},
		"empty entry":        {`a = ["x", ""]`, func(t *table.Table) { t.List("a") }, []string{"f.toml: a"}},
		"out of bounds":      {"a = 9\nb = \"9s\"\nc = \"soon\"", func(t *table.Table) { t.Count("a", 0, 0, 8); t.Duration("b", 0, 0, 8); t.Duration("c", 0, 0, 8) }, []string{"f.toml: a", "f.toml: b", "f.toml: c"}},
		"origin with a path": {`a = "https://x/"`, func(t *table.Table) { t.Origin("a", "https") }, []string{"f.toml: a"}},
		"another scheme":     {`a = "http://x"`, func(t *table.Table) { t.Origin("a", "https") }, []string{"f.toml: a"}},
		"credentials":        {`a = "nats://u:p@x"`, func(t *table.Table) { t.Broker("a", "a seed") }, []string{"f.toml: a"}},
		"in a table":         {"[a]\nb = 1", func(t *table.Table) { a := t.Table("a"); a.Text("b"); a.Text("c"); a.Problem("", "no good") }, []string{"f.toml: a", "f.toml: a.b", "f.toml: a.c"}},
		"in one of many":     {"[[a]]\n[[a]]\nb = 1", func(t *table.Table) { t.Tables("a")[1].Text("b") }, []string{"f.toml: a[2].b"}},
		"not known":          {"x = 1\n[a]\ny = 1", func(t *table.Table) { t.Table("a").End(); t.End() }, []string{"f.toml: a.y", "f.toml: x"}},
		"no text as a key":   {`"` + `\u00e9` + `" = 1`, func(t *table.Table) { t.End() }, []string{"f.toml: é"}},
	} {
		t.Run(name, func(t *testing.T) {
			top := parse(t, row.text)
			row.take(top)
			if got := found(t, top.Err()); !slices.Equal(got, row.want) {
				t.Errorf("problems of %v, want %v: %v", got, row.want, top.Err())
			}
		})
	}
}

func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := table.Read(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	var problem *table.Problem
	// A line that is broken may hold a secret.
	if _, err := table.Parse("f.toml", []byte("a = 1\nseed = SUsecret\n")); !errors.As(err, &problem) || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "SUsecret") {
		t.Errorf("bad syntax: %v", err)
	}
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("#", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Read(large); !errors.As(err, &problem) || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("too large: %v", err)
	}
}

func TestFurtherFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	top := parse(t, "")
	top.Text("missing")
	top.Read("a", write("good.toml", "b = 1")).Text("b")
	if got := top.Read("a", write("broken.toml", "b =")); got != nil {
		t.Errorf("a broken file is %v", got)
	}
	if got := top.Read("a", filepath.Join(dir, "none")); got != nil {
		t.Errorf("no file is %v", got)
	}
	if got, want := found(t, top.Err()), []string{"broken.toml: ", "f.toml: a", "f.toml: missing", "good.toml: b"}; !slices.Equal(got, want) {
		t.Errorf("problems of %v, want %v", got, want)
	}
}
