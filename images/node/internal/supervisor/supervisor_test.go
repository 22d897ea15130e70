package supervisor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/images/node/internal/supervisor"
)

// patience bounds what is waited for; none is expected to reach it.
const patience = time.Minute

// program puts a shell script of this name into $PATH.
func program(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// logged waits until the program's log holds text, count times at least.
func logged(t *testing.T, logs, name, text string, count int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		content, _ := os.ReadFile(filepath.Join(logs, name+".log"))
		if strings.Count(string(content), text) >= count {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s said %q, want %q %d times", name, content, text, count)
		case <-tick.C:
		}
	}
}

func TestWhatEndsIsStartedAgain(t *testing.T) {
	program(t, "mate", "echo ahoy; exit 3")
	logs := t.TempDir()
	s, err := supervisor.New(logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("mate"); err != nil {
		t.Fatal(err)
	}
	logged(t, logs, "mate", "ahoy", 2)
	s.Stop(patience)
	before, _ := os.ReadFile(filepath.Join(logs, "mate.log"))
	time.Sleep(1200 * time.Millisecond) //nolint:forbidigo // longer than the pause: that nothing happens cannot be waited for
	if after, _ := os.ReadFile(filepath.Join(logs, "mate.log")); len(after) != len(before) {
		t.Error("started again after Stop")
	}
}

func TestStopAsksAndWaits(t *testing.T) {
	program(t, "mate", `trap 'echo aye; exit 0' TERM; echo "$@"; while :; do sleep 0.05; done`)
	logs := t.TempDir()
	s, err := supervisor.New(logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("mate", "all", "hands"); err != nil {
		t.Fatal(err)
	}
	logged(t, logs, "mate", "all hands", 1)
	s.Stop(patience)
	logged(t, logs, "mate", "aye", 1)
}

func TestProgramThatIsNotThereIsAnError(t *testing.T) {
	s, err := supervisor.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("nobody-of-this-name"); err == nil || !strings.Contains(err.Error(), "nobody-of-this-name") {
		t.Errorf("error %v", err)
	}
	s.Stop(patience)
}
