package matrix_test

import (
	"slices"
	"testing"

	"github.com/seatrial/seatrial/suites/isolation/matrix"
)

// Every attack is refused as it must be, by the broker as a fleet's is configured
// and the real callout.
func TestEveryAttackIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	rows := rowsOf(t, f.target)
	tally := try(t, f.target, rows, func(r matrix.Result) bool {
		if r.Err != nil {
			t.Errorf("%s (%s): %v", r.Row, r.Row.Want, r.Err)
		}
		return true
	})
	t.Logf("\n%s", tally)
	if lacks := missing(tally); !slices.Equal(lacks, []matrix.Need{matrix.OpenListeners}) {
		t.Errorf("rows did not run for want of %v", lacks)
	}
	for _, kind := range matrix.Kinds() {
		if len(of(rows, kind)) == 0 {
			t.Errorf("there are no %s", kind)
		}
	}
}

// Where there are other listeners, a device's token opens none of them.
func TestTokensOpenNoOtherListener(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{open: true})
	tally := try(t, f.target, of(rowsOf(t, f.target), matrix.Listeners), func(r matrix.Result) bool {
		if r.Err != nil {
			t.Errorf("%s (%s): %v", r.Row, r.Row.Want, r.Err)
		}
		return true
	})
	t.Logf("\n%s", tally)
	if tally.Ran() == 0 {
		t.Error("nothing ran")
	}
}
