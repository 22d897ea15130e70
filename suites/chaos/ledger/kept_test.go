package ledger_test

import (
	"compress/gzip"
	"os"
	"testing"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// kept is the history of a run of the embedded profile, with seed 4258488763.
func kept(t *testing.T) []ledger.Event {
	t.Helper()
	file, err := os.Open("testdata/embedded.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	events, err := ledger.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// What was kept must stay readable, and the rules must go on saying of it what they
// said when it was made.
func TestHistoryOfRealRunHolds(t *testing.T) {
	v := ledger.Check(kept(t))
	if !v.Holds() {
		t.Errorf("%s", v)
	}
	for what, least := range map[string]int{
		"writes acknowledged": 40, "revisions of desired states": 40, "statuses": 60, "heartbeats": 60, "looks at podman": 15,
		"faults: broker killed": 3, "faults: power cut": 4,
	} {
		if v.Counts[what] < least {
			t.Errorf("%d %s, want %d at least", v.Counts[what], what, least)
		}
	}
}

// The rules are as strict with a real history as with those of the model: mutants
// that need no container of the model's own find a place in it, and are caught.
func TestMutantsOfRealRunAreCaught(t *testing.T) {
	const least = 25
	var made int
	for _, m := range mutants {
		events, ok := m.change(kept(t))
		if !ok {
			continue
		}
		made++
		if v := ledger.Check(events); !breaks(v, m.rule) {
			t.Errorf("%s: rule %q was not found to be broken:\n%s", m.name, m.rule, v)
		}
	}
	if made < least {
		t.Errorf("only %d mutants had a place, want %d", made, least)
	}
}
