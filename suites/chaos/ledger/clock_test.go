package ledger_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// Clocks jump, a device's, the broker's and that of whoever watches. No rule asks one,
// so that none is broken by a jump, nor hidden by it.
func TestNoClockChangesTheVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := honest(drawn{t}, rapid.IntRange(0, 60).Draw(t, "steps"))
		if i := rapid.IntRange(-1, len(mutants)-1).Draw(t, "mutant"); i >= 0 {
			changed, ok := mutants[i].change(events)
			if !ok {
				return
			}
			events = changed
		}
		want := ledger.Check(events)
		// What has a time keeps it, whenever it is read.
		jumps := map[time.Time]time.Time{}
		clock := func(at *time.Time) {
			if _, known := jumps[*at]; !known {
				jumps[*at] = at.Add(time.Duration(rapid.IntRange(-3600, 3600).Draw(t, "jump")) * time.Second)
			}
			*at = jumps[*at]
		}
		jumped := copied(events)
		for i := range jumped {
			clock(&jumped[i].Observed)
			switch e := jumped[i]; {
			case e.Desired != nil:
				clock(&e.Desired.Stored)
			case e.Status != nil:
				clock(&e.Status.Stored)
			case e.Beat != nil:
				clock(&e.Beat.Time)
			case e.Write != nil:
				w := *e.Write
				clock(&w.Began)
				jumped[i].Write = &w
			}
		}
		if got := ledger.Check(jumped); !slices.Equal(got.Violations, want.Violations) {
			t.Fatalf("%s\nbecame %s", want, got)
		}
	})
}
