package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/suites/chaos"
	"github.com/seatrial/seatrial/suites/chaos/ledger"
	"github.com/seatrial/seatrial/suites/profile"
)

func TestLedgerChecksAgain(t *testing.T) {
	keep := func(name string, events ...ledger.Event) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		h := ledger.NewHistory(file)
		h.Add(append([]ledger.Event{{Begin: &ledger.Begin{Version: ledger.Version, Seed: 7, Devices: []string{"device-1"}}}}, events...)...)
		if err := h.Err(); err != nil {
			t.Fatal(err)
		}
		return path
	}
	end := ledger.Event{End: &ledger.End{}}
	beat := func(revision uint64) ledger.Event {
		return ledger.Event{Beat: &ledger.Beat{Device: "device-1", Of: "device-1", Revision: revision}}
	}
	// A deployment came and went.
	made := ledger.Event{Write: &ledger.Write{Number: 1, Deployment: "d", Outcome: ledger.Acknowledged, Wants: map[string]ledger.Levels{"device-1": {"c": "1"}}}}
	gone := ledger.Event{Write: &ledger.Write{Number: 2, Deployment: "d", Outcome: ledger.Acknowledged, Gone: true}}
	whole := keep("whole.jsonl", made, gone, beat(0), end)
	if out, _, err := run(t, "ledger", whole); err != nil || !strings.Contains(out, "seed 7") || !strings.Contains(out, "HOLDS") {
		t.Errorf("of one that holds: %v\n%s", err, out)
	}
	broken := keep("broken.jsonl", ledger.Event{Skipped: &ledger.Skipped{Bucket: ledger.DesiredBucket, First: 1, Last: 3}}, beat(3), beat(2), end)
	if out, _, err := run(t, "ledger", whole, broken); !errors.Is(err, errSaid) || !strings.Contains(out, "BROKEN never back on device-1 (line 4, against line 3)") {
		t.Errorf("of one that is broken: %v\n%s", err, out)
	}
	if _, _, err := run(t, "ledger", keep("cut.jsonl")); !errors.Is(err, errSaid) {
		t.Errorf("of one without an end: %v", err)
	}
	if out, _, err := run(t, "ledger", keep("empty.jsonl", end)); !errors.Is(err, errSaid) || strings.Contains(out, "HOLDS") {
		t.Errorf("of one in which nothing was written: %v\n%s", err, out)
	}
	none := filepath.Join(t.TempDir(), "none.jsonl")
	if _, _, err := run(t, "ledger", none); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
	if err := os.WriteFile(none, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, "ledger", none); !errors.Is(err, ledger.ErrHistory) {
		t.Errorf("of something else: %v", err)
	}
}

// What a failing run prints is a command of this program as it stands.
func TestReplayCanBePasted(t *testing.T) {
	specs, err := os.ReadFile("../../suites/chaos/chaos_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, profiled := range profile.Names() {
		asked := ledger.Settings{Seed: 4258488763, Duration: 10 * time.Minute}
		words := strings.Fields(chaos.Replay(asked, profiled, "elsewhere"))
		variables := map[string]string{}
		for ; strings.Contains(words[0], "="); words = words[1:] {
			name, value, _ := strings.Cut(words[0], "=")
			variables[name] = value
		}
		if got, err := ledger.Ask(func(name string) string { return variables[name] }); err != nil || got.Seed != asked.Seed || got.Duration != asked.Duration {
			t.Errorf("%s: it asks for %+v, %v", profiled, got, err)
		}
		makefile, err := os.ReadFile("../../Makefile")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(makefile), "SEATRIAL := "+words[0]+"\n") {
			t.Errorf("%s: nobody builds %s", profiled, words[0])
		}
		cmd, args, err := newApp(io.Discard, io.Discard).root().Find(words[1:])
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err != nil {
			t.Fatalf("%s: %v", profiled, err)
		}
		flag := func(name string) string { return cmd.Flag(name).Value.String() }
		if _, known := suites[flag("suite")]; cmd.Name() != "test" || !known || flag("profile") != profiled || flag("environment") != "elsewhere" {
			t.Errorf("%s: it is %q with %q", profiled, cmd.Name(), args)
		}
		if n := len(regexp.MustCompile(`It\(".*`+flag("focus")).FindAll(specs, -1)); n != 1 {
			t.Errorf("%s: it is about %d specs, want 1", profiled, n)
		}
	}
}
