package ledger_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// environment answers as os.Getenv would.
func environment(lines string) func(string) string {
	return func(name string) string {
		for line := range strings.FieldsSeq(lines) {
			if value, is := strings.CutPrefix(line, name+"="); is {
				return value
			}
		}
		return ""
	}
}

func TestAskReadsWhatIsAsked(t *testing.T) {
	s, err := ledger.Ask(environment(""))
	if err != nil || s.Duration != ledger.DefaultDuration || s.Pace != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	// What a run says can be given to the next one.
	for _, s.Pace = range []int{0, 1, 5} {
		again, err := ledger.Ask(environment(s.Again()))
		if err != nil || again.Seed != s.Seed || again.Duration != s.Duration || again.Pace != s.Pace {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	}
	long, err := ledger.Ask(environment("SEATRIAL_LEDGER_SEED=7 SEATRIAL_LEDGER_DURATION=10m"))
	if err != nil || long.Seed != 7 || long.Duration != 10*time.Minute {
		t.Errorf("%+v, %v", long, err)
	}
	for _, wrong := range []string{
		"SEATRIAL_LEDGER_SEED=x", "SEATRIAL_LEDGER_SEED=-1", "SEATRIAL_LEDGER_DURATION=10",
		"SEATRIAL_LEDGER_PACE=0", "SEATRIAL_LEDGER_PACE=101", "SEATRIAL_LEDGER_PACE=1.5",
		"SEATRIAL_LEDGER_DURATION=1s", "SEATRIAL_LEDGER_DURATION=-1m", "SEATRIAL_LEDGER_DURATION=1000h",
	} {
		name, _, _ := strings.Cut(wrong, "=")
		if _, err := ledger.Ask(environment(wrong)); !errors.Is(err, ledger.ErrVariable) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
