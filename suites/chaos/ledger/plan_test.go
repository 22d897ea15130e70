package ledger_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatrial/seatrial/suites/chaos/ledger"
)

var (
	once = []ledger.Kind{ledger.Broker, ledger.Operator, ledger.Callout, ledger.Issuer}
	each = []ledger.Kind{ledger.Agent, ledger.Power, ledger.Network, ledger.Clock}
)

func settings(seed uint64, length time.Duration) ledger.Settings {
	return ledger.Settings{Seed: seed, Duration: length, Devices: []string{"device-1", "device-2"}, Once: once, Each: each}
}

func TestPlanIsMadeBySeed(t *testing.T) {
	a, b := ledger.Make(settings(5, time.Minute)), ledger.Make(settings(5, time.Minute))
	if !reflect.DeepEqual(a, b) {
		t.Error("one seed makes two plans")
	}
	if c := ledger.Make(settings(6, time.Minute)); reflect.DeepEqual(a, c) {
		t.Error("two seeds make one plan")
	}
	less := settings(5, time.Minute)
	less.Once = []ledger.Kind{ledger.Broker}
	if got := ledger.Make(less); !reflect.DeepEqual(got.Tracks[0], a.Tracks[0]) || !reflect.DeepEqual(got.Edits, a.Edits) {
		t.Error("what happens to the broker depends on what else can happen")
	}
}

func TestPlanKeepsItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "duration"))
		p := ledger.Make(settings(rapid.Uint64().Draw(t, "seed"), length))
		for _, track := range p.Tracks {
			var free time.Duration
			for _, f := range track {
				if f.At < free || f.Lasts < 0 || f.At+f.Lasts > length {
					t.Fatalf("%+v overlaps with the one before, or goes on after the end (%s)", f, length)
				}
				if (f.Kind == ledger.Clock) != (f.Jump != 0) {
					t.Fatalf("%+v", f)
				}
				if (f.Target != "") != slices.Contains(each, f.Kind) {
					t.Fatalf("%+v has a target that is none", f)
				}
				free = f.At + f.Lasts
			}
		}
		for i, e := range p.Edits {
			if e.At >= length || i > 0 && e.At < p.Edits[i-1].At || e.Device < 0 || e.Device > 1 {
				t.Fatalf("edit %d is %+v", i, e)
			}
		}
	})
}

func TestMinuteHasEverything(t *testing.T) {
	kinds, changes := map[ledger.Kind]int{}, map[ledger.Change]int{}
	for seed := range uint64(20) {
		p := ledger.Make(settings(seed, time.Minute))
		seen := map[ledger.Kind]bool{}
		for _, f := range p.Faults() {
			kinds[f.Kind]++
			seen[f.Kind] = true
		}
		for _, kind := range once {
			if !seen[kind] {
				t.Errorf("seed %d has no %q in a minute", seed, kind)
			}
		}
		for _, e := range p.Edits {
			changes[e.Change]++
		}
	}
	if len(kinds) != len(once)+len(each) || len(changes) != 4 {
		t.Errorf("kinds %v, changes %v", kinds, changes)
	}
}
