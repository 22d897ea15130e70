package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/framework/process"
	"github.com/seatrial/seatrial/framework/redact"
)

func TestEarlyExitQuotesTheLogWithoutSecrets(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("correct-horse-battery\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := shell(dir, "broken", `echo "config: no such key correct-horse-battery" >&2; exit 3`)
	spec.Redactor = redact.New(secret)
	p, err := process.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	err = p.WaitReady(bounded(t), func(context.Context) error { return errors.New("connection refused") })
	var exit *process.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("wait: %v, want *ExitError", err)
	}
	if exit.Status != "status 3" || exit.LogFile != filepath.Join(dir, "logs", "broken.log") {
		t.Errorf("status %q, log %q", exit.Status, exit.LogFile)
	}
	if want := "config: no such key " + redact.Mark; exit.Tail != want {
		t.Errorf("tail %q, want %q", exit.Tail, want)
	}
	if !strings.Contains(err.Error(), exit.Tail) || !strings.Contains(err.Error(), exit.LogFile) {
		t.Errorf("error does not quote the log: %v", err)
	}
}

func TestNotReadySaysWhatTheProbeSaid(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "slow", `echo loading; echo > "$1"; exec sleep 300`)
	refused := errors.New("connection refused")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := p.WaitReady(ctx, func(context.Context) error { return refused })
	var late *process.NotReadyError
	if !errors.As(err, &late) {
		t.Fatalf("wait: %v, want *NotReadyError", err)
	}
	if !errors.Is(err, refused) || !errors.Is(err, context.DeadlineExceeded) || late.Tail != "loading" {
		t.Errorf("error lacks the probe's, the deadline or the log: %v", err)
	}
}

func TestProbeEndsWithTheProcess(t *testing.T) {
	dir := t.TempDir()
	p, err := process.Start(t.Context(), shell(dir, "dying", `sleep 0.1; exit 1`))
	if err != nil {
		t.Fatal(err)
	}
	err = p.WaitReady(bounded(t), func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.As(err, new(*process.ExitError)) {
		t.Fatalf("wait: %v, want *ExitError", err)
	}
}

func TestStartThatCannot(t *testing.T) {
	dir := t.TempDir()
	spec := process.Spec{Name: "missing", Dir: dir, Path: filepath.Join(dir, "no-such-binary")}
	if _, err := process.Start(t.Context(), spec); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("start: %v, want it to wrap os.ErrNotExist", err)
	}
	if _, err := process.Find(dir, "missing"); !errors.Is(err, process.ErrNotRunning) {
		t.Errorf("find: %v", err)
	}
	for _, name := range []string{"", "../up", "Upper", "a/b", strings.Repeat("a", 64)} {
		spec.Name = name
		if _, err := process.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "process name") {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestLogIsPrivateAndKeepsThePreviousRun(t *testing.T) {
	dir := t.TempDir()
	for _, word := range []string{"one", "two", "three"} {
		p := start(t, dir, "daemon", `echo `+word+`; echo > "$1"; exec sleep 300`)
		if err := p.Stop(bounded(t)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(dir, "daemon.ready")); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{"daemon.log": "three\n", "daemon.log.1": "two\n"} {
		path := filepath.Join(dir, "logs", file)
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want || info.Mode().Perm() != 0o600 {
			t.Errorf("%s holds %q with mode %v, want %q with 0600", file, got, info.Mode().Perm(), want)
		}
	}
}

func TestMarkReachesDescendants(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, "daemon", `env > "$1.tmp"; mv "$1.tmp" "$1"; exec sleep 300`)
	environ, err := os.ReadFile(filepath.Join(dir, "daemon.ready"))
	if err != nil {
		t.Fatal(err)
	}
	if want := process.Marker + "=" + filepath.Join(dir, "daemon") + "\n"; !strings.Contains(string(environ), want) {
		t.Errorf("environment lacks %q", want)
	}
	gotDir, gotName, ok := process.Marked(p.PID())
	if !ok || gotDir != dir || gotName != "daemon" {
		t.Errorf("marked: %q, %q, %v", gotDir, gotName, ok)
	}
}
