package main

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/environment"
)

// Who follows a log sees a line when it is written, and no secret in it, be it one that only
// the stack knows for one, and not until now.
func TestLogsAreFollowedLineByLine(t *testing.T) {
	state := t.TempDir()
	t.Setenv(environment.StateVariable, state)
	w, err := newApp(io.Discard, io.Discard).open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.done() // the folder goes with the test
	if _, err := w.Environment.MakeDir(logFolder); err != nil {
		t.Fatal(err)
	}
	log := w.Environment.Dir(logFolder, "callout.log")
	if err := os.WriteFile(log, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	shown, out := io.Pipe()
	root := newApp(out, io.Discard).root()
	root.SetArgs([]string{"logs", "callout", "--follow", "--environment", "embedded", "--profile", "embedded"})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = out.CloseWithError(root.ExecuteContext(ctx))
	}()
	defer func() { cancel(); shown.Close(); <-ended }()
	sees := func(want string) {
		t.Helper()
		buffer := make([]byte, 4<<10)
		var got strings.Builder
		for !strings.Contains(got.String(), want) {
			n, err := shown.Read(buffer)
			got.Write(buffer[:n])
			if err != nil {
				t.Fatalf("saw %q and then %v, want %q", got.String(), err, want)
			}
		}
	}
	sees("first\n")
	file, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	pat := w.Environment.Dir("pat")
	artifact.Secrets(w.Context(ctx), pat)
	if err := os.WriteFile(pat, []byte("opaque-secret-value-0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("password=opaque-0123456789\nnobody knows opaque-secret-value-0123\n"); err != nil {
		t.Fatal(err)
	}
	sees("password=[REDACTED]\nnobody knows [REDACTED]\n")
}
