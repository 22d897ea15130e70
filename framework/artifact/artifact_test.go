package artifact_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/redact"
)

const secret = "opaque-secret-value-0123"

func write(name, content string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, []byte(content), 0o644)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestEverythingIsCollectedWithoutSecrets(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "pat")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(root, "agent.log")
	if err := os.WriteFile(log, []byte("token "+secret), 0o600); err != nil {
		t.Fatal(err)
	}
	r := artifact.NewRegistry(nil)
	ctx := artifact.NewContext(t.Context(), r)
	artifact.Secrets(ctx, file)
	artifact.Register(ctx,
		artifact.Func("kv/desired", write("device-1/value.json", `{"pat":"`+secret+`"}`)),
		artifact.File("logs", filepath.Join(root, "*.log")),
		artifact.Func("linked", func(_ context.Context, dir string) error {
			return os.Symlink(file, filepath.Join(dir, "link"))
		}),
	)
	out := filepath.Join(t.TempDir(), "artifacts")
	if err := r.Collect(ctx, out); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(out, "kv-desired", "device-1", "value.json")); got != `{"pat":"[REDACTED]"}` {
		t.Errorf("got %s", got)
	}
	if got := read(t, filepath.Join(out, "logs", "agent.log")); got != "token [REDACTED]" {
		t.Errorf("got %s", got)
	}
	err := filepath.WalkDir(out, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		if !entry.IsDir() && strings.Contains(read(t, path), secret) {
			t.Errorf("secret in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A state folder holds more than files: to read a pipe would take until somebody
// writes, and there is nothing to be read from a socket.
func TestOnlyFilesAreCopied(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "state.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(root) // a socket's path is short
	socket, err := new(net.ListenConfig).Listen(t.Context(), "unix", "metrics.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	out := t.TempDir()
	if err := artifact.File("state", filepath.Join(root, "*")).Collect(t.Context(), out); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 1 || entries[0].Name() != "state.json" {
		t.Errorf("copied %v, %v", entries, err)
	}
}

func TestCollectorsThatFailAreNoted(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	r := artifact.NewRegistry(redact.New())
	r.Redactor().AddSecret(secret)
	r.Bound = 50 * time.Millisecond
	refused := errors.New("connection refused by " + secret)
	partial := write("half.txt", "half")
	r.Add(
		artifact.Func("good", write("a.txt", "a")),
		artifact.Func("failing", func(ctx context.Context, dir string) error {
			return errors.Join(partial(ctx, dir), refused)
		}),
		artifact.Func("panicking", func(context.Context, string) error { panic("nil client") }),
		artifact.Func("slow", func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }),
		artifact.Func("stuck", func(context.Context, string) error { <-release; return nil }),
	)
	out := t.TempDir()
	err := r.Collect(t.Context(), out)
	if !errors.Is(err, refused) || !errors.Is(err, artifact.ErrStuck) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("collect: %v", err)
	}
	note := read(t, filepath.Join(out, "errors.txt"))
	for _, want := range []string{"collect failing: connection refused by [REDACTED]", "collect panicking: panic: nil client", "collect slow:", "collect stuck:"} {
		if !strings.Contains(note, want) {
			t.Errorf("errors.txt lacks %q:\n%s", want, note)
		}
	}
	if got := read(t, filepath.Join(out, "good", "a.txt")); got != "a" {
		t.Errorf("good: %q", got)
	}
	if got := read(t, filepath.Join(out, "failing", "half.txt")); got != "half" {
		t.Errorf("what a failing collector wrote: %q", got)
	}
}

func TestLaterCollectorReplacesEarlier(t *testing.T) {
	r := artifact.NewRegistry(nil)
	r.Add(artifact.Func("broker", write("x", "old")))
	r.Add(artifact.Func("broker", write("x", "new")))
	out := t.TempDir()
	if err := r.Collect(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(out, "broker", "x")); got != "new" {
		t.Errorf("got %q", got)
	}
}

func TestNamesStayInTheFolder(t *testing.T) {
	r := artifact.NewRegistry(nil)
	r.Add(artifact.Func("../../escape", write("x", "x")))
	out := filepath.Join(t.TempDir(), "a", "b", "c")
	if err := r.Collect(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(out, "-..-escape", "x")); got != "x" {
		t.Errorf("got %q", got)
	}
}

func TestWithoutRegistryNothingIsLost(t *testing.T) {
	artifact.Register(t.Context(), artifact.Func("x", write("x", "x")))
	artifact.Secrets(t.Context(), "/no/such/file")
	t.Setenv(artifact.Variable, "")
	if got := artifact.Folder(); got != "_artifacts" {
		t.Errorf("folder %q", got)
	}
	t.Setenv(artifact.Variable, "/elsewhere")
	if got := artifact.Folder(); got != "/elsewhere" {
		t.Errorf("folder %q", got)
	}
}
