package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/e2e-framework/pkg/envconf"

	"github.com/seatrial/seatrial/fixtures/device"
	"github.com/seatrial/seatrial/framework/artifact"
	"github.com/seatrial/seatrial/framework/redact"
	"github.com/seatrial/seatrial/framework/stage"
)

// What keeps a stage from coming up may quote what only the stack knows to be a secret. It
// is said by the live lines, by the command at its end, and by who asks what stands.
func TestFailuresTellNoSecretOfTheStack(t *testing.T) {
	const secret, clean = "the answer to opaque-secret-value-0123 is no", "the answer to " + redact.Mark + " is no"
	ownState(t)
	pat := filepath.Join(t.TempDir(), "pat")
	if err := os.WriteFile(pat, []byte("opaque-secret-value-0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newApp(&out, &out)
	w, err := a.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.done)
	w.Folder = t.TempDir()
	fails := func(ctx context.Context, _ *envconf.Config) (context.Context, error) {
		artifact.Secrets(ctx, pat)
		return ctx, errors.New(secret)
	}
	stands := func(ctx context.Context, _ *envconf.Config) (context.Context, error) { return ctx, nil }
	up := func(s stage.Stage) error {
		s.Name = device.StageDevices
		w.Stages = []stage.Stage{s}
		_, _, err := w.Up(t.Context())
		return err
	}
	var failed error
	for _, row := range []struct {
		name string
		says func()
	}{
		{"a bring-up", func() { failed = up(stage.Stage{Up: fails, Check: fails}) }},
		{"its error", func() { a.say(1, failed) }},
		{"status", func() {
			cmd := a.status()
			cmd.SetContext(t.Context())
			if err := a.showDevices(cmd, w.Harness); err != nil {
				t.Error(err)
			}
		}},
		{"why it is brought up again", func() {
			_ = up(stage.Stage{Up: stands})
			_ = up(stage.Stage{Up: stands, Check: fails})
		}},
	} {
		out.Reset()
		row.says()
		if !strings.Contains(out.String(), clean) || strings.Contains(out.String(), secret) {
			t.Errorf("%s says %s", row.name, out.String())
		}
	}
}
