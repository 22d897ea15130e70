package interval_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/seatrial/seatrial/framework/interval"
)

func defaults() interval.Defaults {
	return interval.Defaults{
		"broker/ready":  {Timeout: 20 * time.Second, Poll: 50 * time.Millisecond},
		"cluster/ready": {Timeout: time.Minute, Poll: time.Second},
	}
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "intervals.toml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileOverridesDefaults(t *testing.T) {
	path := file(t, `"broker/ready" = ["2m"]`+"\n")
	for name, load := range map[string]func() (*interval.Set, error){
		"by path": func() (*interval.Set, error) { return interval.Load(path, defaults()) },
		"by variable": func() (*interval.Set, error) {
			t.Setenv(interval.Variable, path)
			return interval.Load("", defaults())
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := load()
			if err != nil {
				t.Fatal(err)
			}
			ctx := interval.NewContext(t.Context(), set)
			if got := interval.Timeout(ctx, "broker/ready"); got != 2*time.Minute {
				t.Errorf("timeout %s, want that of the file", got)
			}
			if got := interval.Poll(ctx, "broker/ready"); got != 50*time.Millisecond {
				t.Errorf("poll %s, want the default", got)
			}
			if got := interval.Timeout(ctx, "cluster/ready"); got != time.Minute {
				t.Errorf("timeout %s, want the default", got)
			}
		})
	}
}

func TestWrongFilesNameWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"unknown":      {`"brokr/ready" = ["1s"]`, []string{"brokr/ready", "unknown interval", "broker/ready, cluster/ready"}},
		"duration":     {`"broker/ready" = ["soon"]`, []string{"broker/ready", `"soon"`}},
		"negative":     {`"broker/ready" = ["-1s"]`, []string{"broker/ready", `"-1s"`, "not positive"}},
		"zero poll":    {`"broker/ready" = ["1s", "0s"]`, []string{"broker/ready", "not positive"}},
		"poll longer":  {`"broker/ready" = ["1s", "2s"]`, []string{"broker/ready", "longer than timeout"}},
		"too many":     {`"broker/ready" = ["1s", "1s", "1s"]`, []string{"broker/ready", "3 values"}},
		"empty":        {`"broker/ready" = []`, []string{"broker/ready", "0 values"}},
		"wrong type":   {`"broker/ready" = 5`, []string{"intervals.toml"}},
		"syntax":       {`"broker/ready`, []string{"intervals.toml"}},
		"several":      {"\"a/b\" = [\"1s\"]\n\"broker/ready\" = [\"x\"]", []string{"a/b", "broker/ready"}},
		"section form": {"[broker]\nready = [\"1s\"]", []string{"intervals.toml"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := interval.Load(file(t, c.content), defaults())
			if !errors.As(err, new(*interval.FileError)) {
				t.Fatalf("load: %v, want *FileError", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
		})
	}
	if _, err := interval.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestUndeclaredNamesWaitAMinute(t *testing.T) {
	if got := interval.Timeout(t.Context(), "who/knows"); got != time.Minute {
		t.Errorf("timeout %s", got)
	}
}

func TestGetIsWhatGomegaTakes(t *testing.T) {
	g := gomega.NewWithT(t)
	ctx := interval.NewContext(t.Context(), interval.New(interval.Defaults{"a/b": {Timeout: time.Minute, Poll: time.Millisecond}}))
	calls := 0
	g.Eventually(func() int { calls++; return calls }, interval.Get(ctx, "a/b")...).Should(gomega.Equal(3))
}
