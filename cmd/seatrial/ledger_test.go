package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
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
