package addons

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestChangedManifestsAreAppliedAgainAndFailedOnesRetried(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", "1")
	write(t, dir, "b.yaml", "1")
	write(t, dir, "notes.txt", "not a manifest")
	var tried, told []string
	failing := true
	f := &Folder{
		Dir: dir,
		Apply: func(_ context.Context, file string) error {
			tried = append(tried, filepath.Base(file))
			if failing && filepath.Base(file) == "b.yaml" {
				return errors.New("no such kind yet")
			}
			return nil
		},
		Applied: func(file string) { told = append(told, filepath.Base(file)) },
	}
	for _, step := range []struct {
		before      func()
		tried, told []string
	}{
		{func() {}, []string{"a.yaml", "b.yaml"}, []string{"a.yaml"}},
		{func() { failing = false }, []string{"b.yaml"}, []string{"b.yaml"}},
		{func() {}, nil, nil},
		{func() { write(t, dir, "a.yaml", "2") }, []string{"a.yaml"}, []string{"a.yaml"}},
	} {
		tried, told = nil, nil
		step.before()
		f.pass(t.Context())
		if !slices.Equal(tried, step.tried) || !slices.Equal(told, step.told) {
			t.Errorf("tried %q, told %q, want %q and %q", tried, told, step.tried, step.told)
		}
	}
}

func TestFurnishLeavesOutWhatIsDisabledAndKeepsWhatIsThere(t *testing.T) {
	t.Parallel()
	from, dir := t.TempDir(), filepath.Join(t.TempDir(), "manifests")
	for _, name := range []string{"coredns.yaml", "storage.yaml", "quay.yaml"} {
		write(t, from, name, "shipped")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "coredns.yaml", "rewritten")
	f := &Folder{Dir: dir}
	if err := f.Furnish(from, []string{"storage"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"coredns.yaml": "rewritten", "quay.yaml": "shipped", "storage.yaml": ""} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if string(text) != want || (want == "") != errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}
