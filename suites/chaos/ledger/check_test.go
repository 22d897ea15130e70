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
				if !slices.ContainsFunc(v.Violations, func(broken ledger.Violation) bool { return broken.Rule == m.rule }) {
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
	end := ledger.Event{End: &ledger.End{}}
	for _, events := range [][]ledger.Event{{begin, end}, {begin, refused, end}} {
		if v := ledger.Check(events); v.Holds() || len(v.Violations) > 0 || !strings.Contains(v.String(), "nothing was written") {
			t.Errorf("holds is %v:\n%s", v.Holds(), v)
		}
	}
}

func TestRollbackThatIsMarkedIsAllowed(t *testing.T) {
	events := func(marked bool) []ledger.Event {
		return []ledger.Event{
			{Begin: &ledger.Begin{Version: 1, Devices: []string{"a"}}},
			{Desired: &ledger.Revision{Device: "a", Of: "a", Number: 3, Rollback: marked}},
			{Desired: &ledger.Revision{Device: "a", Of: "a", Number: 4}},
			{Status: &ledger.Status{Device: "a", Of: "a", Sequence: 1, Revision: 4}},
			{Beat: &ledger.Beat{Device: "a", Of: "a", Revision: 4}},
			{Status: &ledger.Status{Device: "a", Of: "a", Sequence: 2, Revision: 3}},
			{Beat: &ledger.Beat{Device: "a", Of: "a", Revision: 3}},
		}
	}
	if v := ledger.Check(events(true)); len(v.Violations) > 0 {
		t.Errorf("marked: %s", v)
	}
	if v := ledger.Check(events(false)); len(v.Violations) != 2 {
		t.Errorf("not marked, so that a status and a heartbeat are wrong: %s", v)
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
