package ledger_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

// dice decide by a seed.
type dice struct{ *rand.Rand }

func (d dice) Upto(n int) int { return d.IntN(n) }

// rolled are whole histories of a fleet that keeps its promise, of many seeds.
func rolled(seed uint64) []ledger.Event {
	return honest(dice{rand.New(rand.NewPCG(seed, 1))}, 120)
}

func TestWhatKeepsThePromiseHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := honest(drawn{t}, rapid.IntRange(0, 60).Draw(t, "steps"))
		if v := ledger.Check(events); !v.Holds() {
			t.Fatalf("%s", v)
		}
	})
}

// A run that is killed leaves a history without an end: whatever it had seen so far
// must not be taken for broken.
func TestHistoryThatBreaksOffIsNotBroken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := honest(drawn{t}, rapid.IntRange(0, 60).Draw(t, "steps"))
		v := ledger.Check(events[:rapid.IntRange(1, len(events)-1).Draw(t, "length")])
		if len(v.Violations) > 0 {
			t.Fatalf("%s", v)
		}
		if v.Ended || v.Holds() {
			t.Fatal("it has no end, and yet it holds")
		}
	})
}

// breaks says whether the verdict names a place at which this rule is broken: events, or
// the device that there are none of.
func breaks(v *ledger.Verdict, rule ledger.Rule) bool {
	return !v.Holds() && slices.ContainsFunc(v.Violations, func(broken ledger.Violation) bool {
		return broken.Rule == rule && (broken.Line > 0 || broken.Device != "") && strings.Contains(v.String(), broken.String())
	})
}

func TestEveryMutantIsCaught(t *testing.T) {
	const histories = 24
	var all [][]ledger.Event
	for seed := range uint64(histories) {
		all = append(all, rolled(seed))
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			var made int
			for seed, honest := range all {
				events, ok := m.change(honest)
				if !ok {
					continue
				}
				made++
				v := ledger.Check(events)
				if !breaks(v, m.rule) {
					t.Errorf("seed %d: rule %q was not found to be broken:\n%s", seed, m.rule, v)
				}
			}
			if made < histories/4 {
				t.Errorf("of %d histories only %d had a place for it", histories, made)
			}
		})
	}
}

func TestEveryRuleHasAMutant(t *testing.T) {
	for _, rule := range ledger.Rules() {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.rule == rule }) {
			t.Errorf("no mutant breaks %q", rule)
		}
	}
}

// Nobody is told that a promise holds that was never put to the test.
func TestHistoryInWhichNothingWasWrittenShowsNothing(t *testing.T) {
	begin := ledger.Event{Begin: &ledger.Begin{Version: ledger.Version, Devices: []string{"a"}}}
	refused := ledger.Event{Write: &ledger.Write{Number: 1, Deployment: "d", Outcome: ledger.Refused}}
	gone := ledger.Event{Write: &ledger.Write{Number: 1, Deployment: "d", Outcome: ledger.Acknowledged, Gone: true}}
	unheard := ledger.Event{Write: &ledger.Write{Number: 1, Deployment: "d", Outcome: ledger.Unknown, Wants: map[string]ledger.Levels{"a": {"c": "1"}}}}
	beat := ledger.Event{Beat: &ledger.Beat{Device: "a", Of: "a"}}
	end := ledger.Event{End: &ledger.End{}}
	if v := ledger.Check(nil); v.Holds() {
		t.Errorf("one without an event holds:\n%s", v)
	}
	for _, events := range [][]ledger.Event{{begin, beat, end}, {begin, refused, beat, end}, {begin, gone, beat, end}, {begin, unheard, beat, end}} {
		if v := ledger.Check(events); v.Holds() || len(v.Violations) > 0 || !strings.Contains(v.String(), "nothing was written") {
			t.Errorf("holds is %v:\n%s", v.Holds(), v)
		}
	}
}

// A way back is one from what the operator marked it for, and from there it goes on.
func TestOnlyMarkedWayBackIsAllowed(t *testing.T) {
	for _, row := range []struct {
		name string
		// marks are the revisions that were written, by what each is marked with.
		marks map[uint64]uint64
		// follows are the revisions that the device says it follows.
		follows []uint64
		broken  int
	}{
		{"not marked", map[uint64]uint64{3: 0, 4: 0}, []uint64{4, 3}, 1},
		{"marked", map[uint64]uint64{3: 4, 4: 0}, []uint64{4, 3}, 0},
		{"marked for less", map[uint64]uint64{3: 4, 9: 0}, []uint64{9, 3}, 1},
		{"taken once more", map[uint64]uint64{3: 4, 9: 0}, []uint64{4, 3, 9, 3}, 1},
		{"marked until it has caught up", map[uint64]uint64{3: 7, 5: 7, 8: 0}, []uint64{7, 3, 5, 8}, 0},
		{"back to what it came from", map[uint64]uint64{3: 7, 7: 0}, []uint64{7, 3, 7}, 1},
		{"back to before that", map[uint64]uint64{2: 0, 3: 7, 7: 0}, []uint64{7, 3, 2}, 1},
	} {
		events := []ledger.Event{{Begin: &ledger.Begin{Version: 1, Devices: []string{"a"}}}}
		for number, from := range row.marks {
			events = append(events, ledger.Event{Desired: &ledger.Revision{Device: "a", Of: "a", Number: number, RollbackFrom: from}})
		}
		said, beaten := slices.Clone(events), events
		for i, number := range row.follows {
			said = append(said, ledger.Event{Status: &ledger.Status{Device: "a", Of: "a", Sequence: uint64(i + 1), Revision: number}})
			beaten = append(beaten, ledger.Event{Beat: &ledger.Beat{Device: "a", Of: "a", Revision: number}})
		}
		for _, history := range [][]ledger.Event{said, beaten} {
			v := ledger.Check(history)
			if len(v.Violations) != row.broken || row.broken > 0 && v.Violations[0].Rule != ledger.RuleOrder {
				t.Errorf("%s: want %d times %q:\n%s", row.name, row.broken, ledger.RuleOrder, v)
			}
		}
	}
}

// A container that was not asked for in between may be another one afterwards, and
// so may one of a device that lost its power be started again.
func TestWhatHasAReasonIsNotRecreated(t *testing.T) {
	wants := func(on bool) map[string]ledger.Levels {
		if !on {
			return nil
		}
		return map[string]ledger.Levels{"a": {"c": "1"}}
	}
	look := func(id string, started int64) ledger.Event {
		return ledger.Event{Look: &ledger.Look{Device: "a", Containers: []ledger.Found{{
			Name: "c", ID: id, Owner: "a", Level: "1", State: ledger.Running, Started: moment(started),
		}}}}
	}
	write := func(n int, on bool) ledger.Event {
		return ledger.Event{Write: &ledger.Write{Number: n, Deployment: "d", Outcome: ledger.Acknowledged, Wants: wants(on)}}
	}
	begin := ledger.Event{Begin: &ledger.Begin{Version: 1, Devices: []string{"a"}}}
	v := ledger.Check([]ledger.Event{begin, write(1, true), look("x", 1), write(2, false), write(3, true), look("y", 2)})
	if len(v.Violations) > 0 || v.Unproven[ledger.RuleRecreated] != 1 {
		t.Errorf("it was not asked for in between: %s", v)
	}
	v = ledger.Check([]ledger.Event{
		begin, write(1, true), look("x", 1),
		{Fault: &ledger.Happened{Kind: ledger.Power, Target: "a"}}, look("x", 2), {Fault: &ledger.Happened{Kind: ledger.Power, Target: "a", Over: true}}, look("x", 3),
	})
	if len(v.Violations) > 0 {
		t.Errorf("it had no power in between: %s", v)
	}
	v = ledger.Check([]ledger.Event{begin, write(1, true), look("x", 1), {Fault: &ledger.Happened{Kind: ledger.Agent, Target: "a"}}, look("x", 2)})
	if len(v.Violations) != 1 {
		t.Errorf("an agent's death is no reason to start a container again: %s", v)
	}
}
