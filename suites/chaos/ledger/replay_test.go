package ledger_test

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// A seed that was printed replays, also by another program, another day: the plan of the
// run that was kept is the one that its seed makes today.
func TestSeedOfRealRunReplays(t *testing.T) {
	events := kept(t)
	begin := events[0].Begin
	plan := ledger.Make(ledger.Settings{
		Seed: begin.Seed, Duration: time.Duration(begin.Seconds * float64(time.Second)), Pace: begin.Pace, Devices: begin.Devices,
		Once: once, Each: []ledger.Kind{ledger.Agent, ledger.Power},
	})
	happened := map[string][]ledger.Kind{}
	var edits []ledger.Edit
	for _, e := range events {
		switch {
		case e.Fault != nil && !e.Fault.Over:
			track := cmp.Or(e.Fault.Target, string(e.Fault.Kind))
			happened[track] = append(happened[track], e.Fault.Kind)
		case e.Write != nil && e.Write.Number > 4: // the first four make what is there all the time
			edits = append(edits, editOf(t, e.Write))
		}
	}
	for _, track := range plan.Tracks {
		name := cmp.Or(track[0].Target, string(track[0].Kind))
		// The machine may have been too slow for the last ones.
		got := happened[name]
		if len(got) == 0 || len(got) > len(track) {
			t.Errorf("%s: %d faults of %d happened", name, len(got), len(track))
			continue
		}
		for i, kind := range got {
			if track[i].Kind != kind {
				t.Errorf("%s: fault %d was %q, and is %q", name, i, kind, track[i].Kind)
			}
		}
	}
	if len(happened) != len(plan.Tracks) {
		t.Errorf("%d tracks became %d", len(happened), len(plan.Tracks))
	}
	planned := slices.Clone(plan.Edits)
	guest := false
	for i := range planned {
		e := &planned[i]
		guest = guest != (e.Change == ledger.Guest)
		e.At = 0
		if e.Change == ledger.TurnAll || e.Change == ledger.Guest && !guest {
			e.Device = 0 // it is about all, or takes the guest away from wherever it is
		}
	}
	if !slices.Equal(edits, planned) {
		t.Errorf("the writes were\n%v\nand are\n%v", edits, planned)
	}
}

// editOf is the edit that a write came from.
func editOf(t *testing.T, w *ledger.Write) ledger.Edit {
	t.Helper()
	device := 0
	if len(w.Wants) == 1 && w.Wants["device-2"] != nil {
		device = 1
	}
	switch name, rest, _ := strings.Cut(w.Deployment, "-"); name {
	case "all":
		return ledger.Edit{Change: ledger.TurnAll}
	case "own":
		n, err := strconv.Atoi(rest[:1])
		if err != nil {
			t.Fatal(err)
		}
		return ledger.Edit{Change: ledger.TurnOwn, Device: n}
	case "wanders":
		return ledger.Edit{Change: ledger.Wander, Device: device}
	case "guest":
		return ledger.Edit{Change: ledger.Guest, Device: device}
	}
	t.Fatalf("nobody knows where write %d of %s came from", w.Number, w.Deployment)
	return ledger.Edit{}
}
